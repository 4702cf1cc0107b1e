-- All that the database holds: tables with their rows, views, macros, comments. What was deleted does not come along.
COPY FROM DATABASE {{ name }} TO rewritten
