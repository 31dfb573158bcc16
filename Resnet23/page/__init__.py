"""The parts of the report page, each computed from one run's results as plain values for its template."""
