"""Reads the rows of tables from SQL dumps of MySQL, MariaDB, PostgreSQL and SQLite."""
