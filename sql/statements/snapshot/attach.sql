ATTACH IF NOT EXISTS '{{ path }}' AS {{ name }} ({{ mode }})
