-- The defaults of a selection, in the units of the columns (catalog/metrics.py says whose they are); NULL is off. They
-- are those of the tier of the scorer in use.
CREATE OR REPLACE VIEW thresholds AS
SELECT
{% for rule in rules %}
{% for name, value in rule.limits_of(tiers.get(rule.column)).items() %}
    {{ "NULL" if value is none else value }}::DOUBLE AS {{ name }},
{% endfor %}
{% endfor %}
