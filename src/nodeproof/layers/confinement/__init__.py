"""AppArmor: a profile that workloads run under, proven by what it denies."""
