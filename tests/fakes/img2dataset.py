"""Speaks img2dataset's command line and output format (1.47, webdataset, no re-encoding), to be killed and resumed
quickly. FAKE_DIE_AFTER ends it, as if killed, after so many shards; test_downloads.py compares it with the real one."""

import hashlib
import io
import json
import os
import sys
import tarfile
import urllib.request
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FIELDS = ("key", "url", "status", "error_message", "sha256")


def main(arguments: list[str]) -> None:
    options = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    assert options["disable_all_reencoding"] == "True"
    assert options["output_format"] == "webdataset"
    out, size = Path(options["output_folder"]), int(options["number_sample_per_shard"])
    urls = pq.read_table(options["url_list"])["url"].to_pylist()
    left = int(os.environ.get("FAKE_DIE_AFTER", "-1"))
    for shard in range(-(-len(urls) // size)):
        if (out / f"{shard:05d}_stats.json").exists():
            continue
        with tarfile.open(out / f"{shard:05d}.tar", "w") as tar:
            rows = []
            for n in reversed(
                range(shard * size, min((shard + 1) * size, len(urls)))
            ):  # in any order but the list's
                rows.append(one(tar, f"{n:08d}", urls[n], float(options["timeout"])))
            if left == 0:
                os._exit(9)
        pq.write_table(pa.Table.from_pylist(rows), out / f"{shard:05d}.parquet")
        (out / f"{shard:05d}_stats.json").write_text(json.dumps({"count": len(rows)}))
        left -= 1


def one(tar: tarfile.TarFile, key: str, url: str, timeout: float) -> dict[str, str | None]:
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            data = answer.read()
    except Exception as error:
        return dict(zip(FIELDS, (key, url, "failed_to_download", str(error), None), strict=True))
    for name, content in ((f"{key}.jpg", data), (f"{key}.json", json.dumps({"url": url}).encode())):
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return dict(zip(FIELDS, (key, url, "success", None, hashlib.sha256(data).hexdigest()), strict=True))


if __name__ == "__main__":
    main(sys.argv[1:])
