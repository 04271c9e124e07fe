"""The whole mesh on one machine: PostgreSQL, S3, the five services and the edge."""
