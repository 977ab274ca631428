"""Worker processes and external programs that never outlive the process that started them."""
