"""What `confide doctor` looks at: a function a check; each finding says how to mend it."""
