"""Where a job runs: a process of its own, with a limit, a log and a result."""
