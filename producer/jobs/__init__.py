"""Jobs after their insertion: reads, waits, cancels and operators' resolutions."""
