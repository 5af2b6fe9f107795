"""`tec lint`: what is suspicious in a rule base that compiles. docs/lint.md lists the checks."""
