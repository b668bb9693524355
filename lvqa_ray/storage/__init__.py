"""Storage: local disks, object stores and HTTP; paths, downloads, retries, locks."""
