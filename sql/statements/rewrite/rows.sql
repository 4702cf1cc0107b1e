SELECT count(*) FROM {{ name }}.{{ table }}
