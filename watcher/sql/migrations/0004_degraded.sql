-- Between up and down: it answers, not as well as was asked for. And checks whose credentials could not be had.
ALTER TYPE check_status ADD VALUE 'degraded' BEFORE 'down';
ALTER TYPE check_reason ADD VALUE 'latency' BEFORE 'assertion';
ALTER TYPE check_reason ADD VALUE 'credentials' BEFORE 'config';
