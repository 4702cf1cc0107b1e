"""Lists of URLs, and what downloading them brings."""
