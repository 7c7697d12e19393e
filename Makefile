# Everything starts here. `make demo` shows the whole line at work, `make test` proves it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo kills mint-demo mint-test test-mintd lib install-lib ffi-test ffi-sanitize ffi-long ffi-line test test-full chaos soak bench bench-build bench-compare bench-ffi bench-mint bench-peer bench-peer-build bench-stats bench-poll bench-pieces fuzz lint rust-test go-test node interop dashboard conformance-reference gen prerequisites

# For tests of the sidecar and the library: Go's cache of results doesn't see that these are new.
UNCACHED := -count=1
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
RUST_FEATURES := --features gopool-sv2-ffi/mint
SV2CLIENT := tests/sv2client
NULLHOST := tests/nullhost
GO_MODULES := go-bindings examples/minipool $(NULLHOST) $(SV2CLIENT)
INTEROP := tests/interop
DASHBOARD := tests/dashboard
# module:package:target
GO_FUZZ := go-bindings:./sv2:FuzzJudge go-bindings:./sv2:FuzzChannels \
  go-bindings:./grpchost:FuzzReadSubmits \
  go-bindings:./sv1host:FuzzReadLine go-bindings:./sv1host:FuzzWriteLine tests/sv2client:.:FuzzDecodeSurvivesAnyBytes
RELEASE := $(or $(CARGO_TARGET_DIR),target)/release
# Where the library for Go and C programs is built to, beside the package that links it.
LIBRARY = go-bindings/ffihost/lib/$(shell go env GOOS)_$(shell go env GOARCH)
PREFIX ?= /usr/local
# sv2_mint is for tests only: what they expect of the library.
LIBRARY_TAGS = sv2_static$(if $(MINT),$(comma)sv2_mint)
comma := ,
# What of e2e is not about a sidecar beside the pool.
E2E_FFI := abuse:: admission:: books:: hostile:: load:: pace:: peer:: probe:: setup:: tips:: \
  --skip survives_a_log_that_can_not_be_written --skip fails_when_the_pool_goes_away \
  --skip probe_names_the_link_when_the_pool_is_stopped
export FUZZ_SECONDS ?= 60

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-22s %s\n", $$1, $$2}'

prerequisites:
	@.ci/prerequisites

demo: prerequisites ## a pool, the sidecar and two CPU miners on this machine; Ctrl-C stops (DEMO_SECONDS=n: by itself)
	@examples/demo/demo.sh

mint-demo: prerequisites ## shares become ehash: pool, sidecar, a Cashu mint, a wallet (DEMO_SECONDS=n; docs in examples/mint)
	@examples/mint/demo

mint-test: prerequisites ## the example mint and wallet, and the way from a share to a balance
	cd examples/mint && cargo fmt --all --check && cargo test --workspace
	DEMO_SECONDS=10 examples/mint/demo

test-mintd: prerequisites ## the same with stock cdk-mintd from the registry; builds it first, once, 6 minutes
	cd examples/mint && STOCK_MINTD=$$(./test-mintd) cargo test --test line -- payments:: wallets:: over_mutual_tls --skip keeps_its_secrets
	DEMO_SECONDS=20 STOCK_MINTD=1 examples/mint/demo

lib: prerequisites ## the listener as a library, for -tags sv2_static and for C (docs/ffi.md); MINT=1: with the mint bridge
	cargo build --release -p gopool-sv2-ffi $(if $(MINT),--features mint)
	ffi/archive.sh $(RELEASE)/libgopool_sv2_ffi.a $(LIBRARY)

install-lib: lib ## header, library and pkg-config file into PREFIX (/usr/local; DESTDIR= for packages)
	ffi/install.sh $(LIBRARY) "$(PREFIX)"

test: prerequisites lint rust-test go-test ffi-test ## all tests that need no other programs
	@echo "make test: all passed"

test-full: test fuzz ## test, and what takes long: fuzz, sanitizers, chaos, the siege, 2^32 hashes, the pieces once. Not: soak, node, interop, dashboard, conformance-reference
	cargo test -p gopool-sv2-tests --test e2e -- --ignored --nocapture
	SIM_SEEDS=5000 cargo test -p gopool-sv2 --lib sim:: -- --nocapture
	cargo test -p gopool-sv2 --lib a_week_of -- --ignored --nocapture
	CARGO_TARGET_DIR="$(abspath $(or $(CARGO_TARGET_DIR),target))" cargo bench --manifest-path benches/Cargo.toml --locked -- --test
	$(MAKE) ffi-long
	$(MAKE) ffi-sanitize
	$(MAKE) chaos
	$(MAKE) kills

kills: prerequisites ## SIGKILLs between a share and its payment, books compared; 15 minutes (GOPOOL_SV2_KILLS=1000)
	GOPOOL_SV2_KILLS=$(or $(GOPOOL_SV2_KILLS),1000) cargo test -p gopool-sv2-tests --test ledger -- --nocapture kills
	GOPOOL_SV2_KILLS=$(or $(GOPOOL_SV2_KILLS),1000) cargo test -p gopool-sv2-tests --test mint -- --nocapture kills::

chaos: prerequisites ## faults on a schedule, books compared share by share; 7 minutes (CHAOS_SEED=n: other faults)
	cargo test -p gopool-sv2-tests --test stress -- --ignored --nocapture --test-threads 1 --skip leave_nothing_behind

soak: prerequisites ## 2,000 miners, and what is held over time; 20 minutes (SOAK_MINUTES=n); renews docs/performance.md
	GOGC=20 SOAK_DOCS="$(abspath docs)" cargo test -p gopool-sv2-tests --test stress -- --ignored --nocapture leave_nothing_behind

fuzz: prerequisites ## each fuzz target for FUZZ_SECONDS (60)
	fuzz/run
	@for target in $(GO_FUZZ); do IFS=: read -r module package name <<< "$$target"; echo "== fuzz $$name: $(FUZZ_SECONDS) s"; \
	  (cd "$$module" && go test -run xxx -fuzz "^$$name$$" -fuzztime $(FUZZ_SECONDS)s "$$package") || exit 1; done

interop: prerequisites ## published Stratum V2 programs mine here; builds them first, once (docs/interop.md)
	@$(INTEROP)/run

dashboard: prerequisites ## the dashboard in headless Chromium, on the whole line (UPDATE_SCREENSHOTS=1: docs/dashboard-*.png)
	@$(DASHBOARD)/run

conformance-reference: prerequisites ## the conformance tests against SRI's pool_sv2 (docs/reference-pool.md)
	@tests/conformance/reference

# More connections than a shell's descriptors: raised as far as it may be, for all that it starts.
bench: bench-build ## what it costs and how fast it is, and what its pieces cost alone; 14 minutes on a quiet machine (BENCH_QUICK=1: 4)
	ulimit -n "$$(ulimit -Hn)"; exec $(RELEASE)/sv2-bench tables \
	  $(if $(BENCH_QUICK),--quick) --date "$$(date -u +%Y-%m-%d)" --page docs/performance.md \
	  --out "target/bench/$$(date -u +%Y-%m-%dT%H%M%SZ).json"
	$(MAKE) bench-pieces

bench-build: prerequisites ## the programs of make bench, into target/release
	cargo build --release --bin gopool-sv2 --bin sv2-load --bin sv2-bench
	cd examples/minipool && go build -o "$(abspath $(RELEASE))/minipool" .

bench-compare: bench-build ## shares on this build and on another one by turns: BEFORE=its target/release (PAIRS=9)
	@[ -n "$(BEFORE)" ] || { echo "BEFORE=folder with gopool-sv2 and minipool of the other build (make bench-build there)"; exit 64; }
	$(RELEASE)/sv2-bench compare --before "$(BEFORE)" --after $(RELEASE) --pairs $(or $(PAIRS),9)

bench-ffi: bench-build lib ## shares over gRPC and with the listener inside minipool by turns (PAIRS=9)
	rm -f $(RELEASE)/minipool-with-listener # Go does not see that the library is new
	cd examples/minipool && go build -tags sv2_static -o "$(abspath $(RELEASE))/minipool-with-listener" .
	$(RELEASE)/sv2-bench compare --before $(RELEASE) --after $(RELEASE) --inside --pairs $(or $(PAIRS),9)
	$(MAKE) bench-poll

# More connections than a shell's descriptors, as in bench. ROW=name and HOST=name: only these.
bench-peer: bench-peer-build ## beside the reference pool by turns, ratios of all that counts; 12 minutes (ROUNDS=3, ROW=name; docs/performance.md)
	pool=$$($(INTEROP)/peers pool_sv2) || { echo "$$pool"; exit 1; }; \
	  ulimit -n "$$(ulimit -Hn)"; exec $(RELEASE)/sv2-bench peer --pool "$$pool/pool_sv2" --rounds $(or $(ROUNDS),3) \
	  $(foreach row,$(ROW),--row $(row)) $(foreach host,$(HOST),--host $(host)) --date "$$(date -u +%Y-%m-%d)" \
	  $(if $(ROW)$(HOST),,--page docs/performance.md) --out "target/bench/peer-$$(date -u +%Y-%m-%dT%H%M%SZ).json"

bench-peer-build: bench-build lib ## the programs of make bench-peer but the reference pool, into target/release
	rm -f $(RELEASE)/minipool-with-listener $(RELEASE)/nullhost-with-listener # Go does not see that the library is new
	cd examples/minipool && go build -tags sv2_static -o "$(abspath $(RELEASE))/minipool-with-listener" .
	cd $(NULLHOST) && go build -o "$(abspath $(RELEASE))/nullhost" .
	cd $(NULLHOST) && go build -tags sv2_static -o "$(abspath $(RELEASE))/nullhost-with-listener" .

bench-mint: bench-build ## what the bridge to a mint adds to an answer, beside the disk, with the mint up, stopped and slow; 7 minutes (ROUNDS=30)
	cargo build --release --bin sv2-ledger
	rm -rf target/tmp/speed # an older file is slower
	$(RELEASE)/sv2-ledger speed target/tmp/speed 20
	$(RELEASE)/sv2-bench mint --rounds $(or $(ROUNDS),30)

bench-stats: bench-build ## whether a statistics service that is up, gone or killed all the time shows in the shares (ROUNDS=9)
	$(RELEASE)/sv2-bench stats --rounds $(or $(ROUNDS),9)

bench-poll: lib ## what an event costs from the ring to Go, and a verdict back: nanoseconds, ten runs
	cd go-bindings && go test -tags sv2_static -run xxx -bench Poll -count 10 ./ffihost

# Criterion asks for the folder of its reports in the environment.
bench-pieces: prerequisites ## what the hot pieces of a share, a new tip and a handshake cost alone; 75 seconds (PIECE=name: those)
	CARGO_TARGET_DIR="$(abspath $(or $(CARGO_TARGET_DIR),target))" \
	  cargo bench --manifest-path benches/Cargo.toml --locked -- $(if $(PIECE),"$(PIECE)")

lint: prerequisites ## formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets $(RUST_FEATURES) -- -D warnings
	@for module in $(GO_MODULES) $(INTEROP) $(DASHBOARD); do \
	  unformatted=$$(gofmt -l $$module); \
	  if [ -n "$$unformatted" ]; then echo "gofmt -w these: $$unformatted"; exit 1; fi; \
	  echo "go vet, staticcheck: $$module"; \
	  (cd $$module && go vet -tags node ./... && go run $(STATICCHECK) -tags node ./...) || exit 1; \
	done
	cd go-bindings && go vet -tags sv2_static ./ffihost ./gopool/door && go run $(STATICCHECK) -tags sv2_static ./ffihost ./gopool/door
	cd go-bindings && go vet -tags sv2_static,sv2_mint ./ffihost && go run $(STATICCHECK) -tags sv2_static,sv2_mint ./ffihost
	examples/deploy/check
	examples/systemd/check

# Most of them wait for processes: two for each core.
rust-test: prerequisites ## Rust: unit, property, tidy, drift, and end to end over real processes
	cargo build --bin gopool-sv2
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$((2 * $$(getconf _NPROCESSORS_ONLN)))} cargo test --workspace $(RUST_FEATURES)

go-test: prerequisites ## Go: with the race detector
	@[ -n "$$GOPOOL_SRC" ] || echo "SKIPPED gopool-checkout: set GOPOOL_SRC to a checkout of goPool to install into a copy of it"
	cargo build --bin gopool-sv2
	@for module in $(filter-out $(SV2CLIENT),$(GO_MODULES)); do (cd $$module && go test -race ./...) || exit 1; done
	cd go-bindings && go test -run TakesNoObject ./grpchost ./session ./sv1host ./sv2
	cd $(SV2CLIENT) && go test -race $(UNCACHED) ./...
	cd $(INTEROP) && go test -race ./sv1

ffi-test: lib ## the library, from C and from Go; MINT=1: the one with the mint bridge
	cargo build --bin gopool-sv2
	ffi/c-tests/run.sh
	$(if $(MINT),ffi/c-tests/mint.sh)
	cd go-bindings && go test -race $(UNCACHED) -tags $(LIBRARY_TAGS) ./ffihost ./gopool/door
	cd go-bindings && go test $(UNCACHED) -tags $(LIBRARY_TAGS) -run TakesNoObject ./ffihost
	ffi/c-tests/beside-sqlite.sh $(if $(MINT),--mint)

ffi-sanitize: lib ## the library with AddressSanitizer and in Miri, ffihost with cgo's checks; needs a nightly Rust
	cargo build --bin gopool-sv2
	ffi/sanitize.sh

ffi-long: lib ## a thousand starts and stops from C and from Go: threads, descriptors, memory
	cargo build --bin gopool-sv2
	GOPOOL_SV2_LONG=1 cargo test -p gopool-sv2-ffi --test leaks
	GOPOOL_SV2_LONG=1 ffi/c-tests/run.sh
	cd go-bindings && GOPOOL_SV2_LONG=1 go test -count=1 -v -tags sv2_static -run TestLeavesNothingBehind ./ffihost

ffi-line: prerequisites ## the line's tests, the mint's too, from Rust and from Go, and conformance, with the listener inside minipool
	$(MAKE) lib MINT=1
	cargo build --bin gopool-sv2
	GOPOOL_SV2_CARRIER=ffi cargo test -p gopool-sv2-tests --test e2e -- mint:: $(E2E_FFI)
	GOPOOL_SV2_CARRIER=ffi cargo test -p gopool-sv2-tests --test conformance
	cd $(SV2CLIENT) && GOPOOL_SV2_CARRIER=ffi go test -race $(UNCACHED) ./e2e
	cd go-bindings && go test -race $(UNCACHED) -tags sv2_static,sv2_mint ./ffihost
	ffi/c-tests/mint.sh
	ffi/c-tests/beside-sqlite.sh --mint

node: prerequisites ## minipool on real nodes: btcd, and Bitcoin Core when BITCOIND has its path
	@[ -n "$$BITCOIND" ] || echo "SKIPPED node-core: set BITCOIND to the path of Bitcoin Core's bitcoind"
	cargo build --bin gopool-sv2
	cd examples/minipool && go test -race -count=1 -tags node ./...

gen: ## regenerate the code of the contract after a change of proto/
	cargo run -p gopool-sv2-proto-generate
