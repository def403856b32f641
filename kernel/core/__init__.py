"""The core: processes, scheduler and pager as a pure state machine. Events in, effects out."""
