FROM funnel_at(
{% for rule in rules %}{% for limit in rule.limits %} ${{ limit }},{% endfor %}{% endfor %}
    $dedup, $captions, sources := $sources
)
