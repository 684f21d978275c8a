"""What people and programs see: tables, progress, errors, and the JSON that is a contract."""
