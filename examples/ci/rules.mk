# include rules.mk; RULES is the folder of the rule base
RULES ?= rules

.PHONY: rules-check rules-test rules-mutate

rules-check:
	tec rulebase check $(RULES)
	tec lint $(RULES)

rules-test:
	tec test $(RULES) -j 0 --cov-fail-under 90

# which rules could break and no test would fail; takes a while
rules-mutate:
	tec test $(RULES) -j 0 --mutate --mutate-fail-under 85
