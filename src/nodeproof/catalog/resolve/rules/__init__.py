"""The rules, by what they are about. A rule objects, gives a reason, or says what to know."""
