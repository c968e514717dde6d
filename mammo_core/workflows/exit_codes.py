"""Exit codes of a training job, the same for every launcher."""

DONE, FAILED, DISK_FULL, BUSY, STOPPED = 0, 1, 3, 75, 130
