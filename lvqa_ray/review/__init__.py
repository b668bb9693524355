"""Human review of records: the queue, the decisions, their effect on the tables, and the local web page."""
