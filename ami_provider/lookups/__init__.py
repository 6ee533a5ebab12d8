"""What AWS is asked before anything is made: read-only calls, their failures as faults."""
