# Thin names over cargo and npm. `make help` lists them.

SHELL := /bin/bash
CARGO ?= cargo
PART := tests/part
LOG := target/test-log

.PHONY: help run web setup test e2e bench soak part-web part-lint part-build part-test part-doc part-deploy part-e2e

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## run    build and start a whole node on localhost; prints where to open it
run:
	@if command -v npm >/dev/null && [ ! -e controlplane/web/dist/index.html ]; then $(MAKE) --no-print-directory web; fi
	$(CARGO) build --release -p controlplane -p dataplane
	exec target/release/lectern up --http 127.0.0.1:8080 --open-tokens

## web    build the page that the binary embeds
web:
	cd controlplane/web && npm ci --no-audit --no-fund && npm run build

## setup  install what the tests need (Debian packages as root, npm packages)
setup:
	@tests/setup

## test   everything CI runs; ends with the counts
test:
	@rm -rf $(LOG) && mkdir -p $(LOG)
	@$(PART) install $(MAKE) --no-print-directory setup
	@$(PART) web $(MAKE) --no-print-directory part-web
	@$(PART) lint $(MAKE) --no-print-directory part-lint
	@$(PART) build $(MAKE) --no-print-directory part-build
	@$(PART) test $(MAKE) --no-print-directory part-test
	@$(PART) doc $(MAKE) --no-print-directory part-doc
	@$(PART) deploy $(MAKE) --no-print-directory part-deploy
	@$(PART) e2e $(MAKE) --no-print-directory part-e2e
	@tests/count $(LOG)

part-web:
	cd controlplane/web && npm run lint && npm test && npm run build

part-lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

part-build:
	$(CARGO) build --workspace --bins --locked

part-test:
	$(CARGO) test --workspace --locked

part-doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked

part-deploy:
	ansible/check

part-e2e:
	cd tests/interop && npm run e2e:ci

## e2e    real Chromium, the long form: every codec, glass to glass, screenshots
e2e: setup web part-build
	cd tests/interop && npm run e2e

## bench  floors and forwarding on this machine (minutes; wants a quiet machine)
bench:
	$(CARGO) build --release -p perf -p controlplane -p dataplane
	target/release/lectern-perf floor
	target/release/lectern-perf forward --viewers 50 --burst 12

## soak   the long form: classes by seed (SEEDS=n, or half of MINUTES=n, default 45), then fuzzing (FUZZ_SECONDS=n a target, else
##        the other half, 10 with SEEDS), then processes killed under a class (KILLS=n, default 200; about ten minutes; it
##        ends in an error when a gate was missed); the summaries go to bench-results/soak
soak:
	@mkdir -p bench-results/soak
	$(if $(SEEDS),SIM_SEEDS=$(SEEDS),SOAK_SECONDS=$$(( $(or $(MINUTES),45) * 30 ))) \
	SOAK_SUMMARY=bench-results/soak/$$(date -u +%F-%H%M%S)-sim.json SOAK_COMMIT=$$(git describe --always --dirty) \
	$(CARGO) test -p tests --test sim --locked -- --nocapture any_seed
	set -o pipefail; \
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),$(if $(SEEDS),10,$$(( $(or $(MINUTES),45) * 2 )))) \
	$(CARGO) run -p fuzz --locked | tee bench-results/soak/$$(date -u +%F-%H%M%S)-fuzz.txt
	$(CARGO) build --release -p perf -p controlplane -p dataplane --locked
	target/release/lectern-perf restart --kills $(or $(KILLS),200) --media-kills $$(( $(or $(KILLS),200) / 4 )) --takeovers 20 \
	--freeze 60 --json > bench-results/soak/$$(date -u +%F-%H%M%S)-restart.json
