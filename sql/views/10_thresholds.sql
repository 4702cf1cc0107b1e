-- The defaults of a selection, in the units of the columns (catalog/metrics.py says whose they are); NULL is off.
CREATE OR REPLACE VIEW thresholds AS
SELECT
{% for rule in rules %}
{% for name, value in rule.limits.items() %}
    {{ "NULL" if value is none else value }}::DOUBLE AS {{ name }},
{% endfor %}
{% endfor %}
