"""What people run; see CONTRIBUTING.md."""
