"""What the machine is: cores and where threads may run, and the words threads wait on."""
