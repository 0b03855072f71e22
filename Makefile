# Kronosq. `make help` lists what can be made; build/release and build/debug live side by side.

VERSION := 0.1.0
MODE ?= release
B := build/$(MODE)

CC ?= cc
PKG_CONFIG ?= pkg-config
MSGPACK := $(shell $(PKG_CONFIG) --exists msgpack-c && echo msgpack-c || echo msgpack)
pkg = $(shell $(PKG_CONFIG) --$(1) $(2))

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wpointer-arith -Wformat=2
CPPFLAGS += -I. -I$(B) -D_GNU_SOURCE -DKRONOSQ_VERSION='"$(VERSION)"'
CFLAGS_COMMON := -std=c11 -ffp-contract=off -fno-math-errno -g $(WARNINGS) $(WERROR)
CFLAGS_release := -O2
CFLAGS_debug := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -DKRONOSQ_DEBUG
LDFLAGS_debug := -fsanitize=address,undefined
ALL_CFLAGS = $(CFLAGS_COMMON) $(CFLAGS_$(MODE)) $(CFLAGS)
ALL_LDFLAGS = $(LDFLAGS_$(MODE)) $(LDFLAGS)

# ---- sources: one explicit list per library or program ----

LUA_SCRIPTS := submit claim renew complete fail release sweep beat leave presence held read watch group cancel requeue move purge \
	control quiet audit load workers page rate hook_claim hook_renew hook_done hook_replay hook_ping metrics_add metrics_read

COMMON_SRC := \
	common/error.c \
	common/log.c \
	common/clock.c \
	common/failpoint.c \
	common/id.c \
	common/trace.c \
	common/notify.c \
	common/metrics.c \
	common/metrics_set.c \
	common/metrics_text.c \
	common/config.c \
	common/config_text.c \
	common/config_print.c \
	common/config_renew.c \
	common/redis.c \
	common/redis_handshake.c \
	common/redis_look.c \
	common/redis_link.c \
	common/redis_link_command.c \
	common/redis_link_events.c \
	common/utf8.c \
	common/cidr.c \
	common/secret_file.c \
	common/api_key.c \
	common/msgpack_read.c \
	common/msgpack_write.c \
	common/task.c \
	common/task_time.c \
	common/task_codec.c \
	common/task_about.c \
	common/result.c \
	common/result_encode.c \
	common/result_decode.c \
	common/webhook.c \
	common/webhook_url.c \
	common/webhook_rules.c \
	common/webhook_address.c \
	common/document/json_out.c \
	common/document/task_document.c \
	common/document/batch_document.c \
	common/document/result_document.c \
	common/document/result_csv.c \
	common/queue/queue.c \
	common/queue/script.c \
	common/queue/send.c \
	common/queue/metrics_out.c \
	common/queue/submit.c \
	common/queue/claim.c \
	common/queue/finish.c \
	common/queue/fleet.c \
	common/queue/read.c \
	common/queue/change.c \
	common/queue/control.c \
	common/queue/load.c \
	common/queue/list.c \
	common/queue/rate.c \
	common/queue/outbox.c \
	common/queue/metrics.c

KRONOS_SRC := \
	worker/kronos/regular_file.c \
	worker/kronos/json_file.c \
	worker/kronos/safetensors.c \
	worker/kronos/model_config.c \
	worker/kronos/weight_file.c \
	worker/kronos/weight_cache.c \
	worker/kronos/model_bind.c \
	worker/kronos/model.c \
	worker/kronos/model_pack.c \
	worker/kronos/packed.c \
	worker/kronos/crew.c \
	worker/kronos/kernels.c \
	worker/kronos/kernels_avx2.c \
	worker/kronos/kernels_avx512.c \
	worker/kronos/block.c \
	worker/kronos/tokenizer.c \
	worker/kronos/transformer.c \
	worker/kronos/philox.c \
	worker/kronos/sampler.c \
	worker/kronos/calendar.c \
	worker/kronos/forecast_candles.c \
	worker/kronos/forecast_pool.c \
	worker/kronos/forecast_input.c \
	worker/kronos/forecast_window.c \
	worker/kronos/forecast.c

WORKER_SRC := \
	worker/main.c \
	worker/settings.c \
	worker/bundled_model.c \
	worker/signals.c \
	worker/link.c \
	worker/lists.c \
	worker/hint.c \
	worker/deliver.c \
	worker/beat.c \
	worker/engine.c \
	worker/answer.c \
	worker/handoff.c \
	worker/summary.c \
	worker/path_stats.c \
	worker/model_identity.c

API_SRC := \
	api/main.c \
	api/listen.c \
	api/server.c \
	api/route.c \
	api/access.c \
	api/keys.c \
	api/peers.c \
	api/rate.c \
	api/reload.c \
	api/guard.c \
	api/guard_bytes.c \
	api/guard_reply.c \
	api/head.c \
	api/drain.c \
	api/reply.c \
	api/request_log.c \
	api/problem.c \
	api/arena.c \
	api/decimal.c \
	api/tree.c \
	api/json_strict.c \
	api/msgpack_strict.c \
	api/times.c \
	api/python_repr.c \
	api/request_json.c \
	api/request_fields.c \
	api/request_batch.c \
	api/request_series.c \
	api/request_candles.c \
	api/request_times.c \
	api/request_relations.c \
	api/request_overrides.c \
	api/request_output.c \
	api/request_webhook.c \
	api/request_value.c \
	api/request_fault.c \
	api/media.c \
	api/accept.c \
	api/prefer.c \
	api/query.c \
	api/idempotency.c \
	api/submit.c \
	api/submit_tasks.c \
	api/submit_read.c \
	api/submit_reply.c \
	api/get_task.c \
	api/change_task.c \
	api/list_tasks.c \
	api/dead_letters.c \
	api/webhooks.c \
	api/show_models.c \
	api/show_queues.c \
	api/show_workers.c \
	api/health_detailed.c \
	api/meter.c \
	api/show_metrics.c \
	api/show_openapi.c \
	api/everywhere.c \
	api/task_reply.c \
	api/feed.c \
	api/streams.c \
	api/events.c \
	api/events_read.c \
	api/events_write.c \
	api/event_candles.c \
	api/event_text.c \
	api/wait.c \
	api/departure.c \
	api/lookup.c \
	api/models.c \
	api/store.c \
	api/sweep.c \
	api/health.c

WEBHOOK_SRC := \
	webhook/main.c \
	webhook/settings.c \
	webhook/secrets.c \
	webhook/sign.c \
	webhook/parcel.c \
	webhook/message.c \
	webhook/retry.c \
	webhook/hosts.c \
	webhook/outbox.c \
	webhook/outbox_lease.c \
	webhook/outbox_close.c \
	webhook/deliver.c \
	webhook/dispatch.c \
	webhook/report.c

CLI_SRC := \
	cli/main.c \
	cli/http.c \
	cli/csv.c \
	cli/forecast.c \
	cli/task.c \
	cli/ask.c \
	cli/queues.c \
	cli/workers.c \
	cli/dead.c \
	cli/webhook.c \
	cli/key.c \
	cli/chart.c

# per-file flags: each SIMD file is compiled for its own instruction set and chosen at run time
ifneq ($(filter x86_64-%,$(shell $(CC) -dumpmachine)),)
$(B)/worker/kronos/kernels_avx2.o: EXTRA := -mavx2 -mfma -mf16c -O3
$(B)/worker/kronos/kernels_avx512.o: EXTRA := -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mf16c -O3
endif
$(B)/worker/kronos/kernels.o: EXTRA := -O3
# XXH3 is inlined here: without optimisation and with sanitizers it would take a second per model
$(B)/worker/kronos/weight_file.o: EXTRA := -O3

obj = $(patsubst %.c,$(B)/%.o,$(1))
LIBCOMMON := $(B)/libcommon.a
LIBKRONOS := $(B)/libkronos.a

COMMON_LIBS := $(call pkg,libs,hiredis) $(call pkg,libs,libevent) $(call pkg,libs,$(MSGPACK)) $(call pkg,libs,uuid) $(call pkg,libs,libcrypto) -lm
KRONOS_LIBS := $(call pkg,libs,libcjson) -lm -lpthread
BLAS_LIBS := $(call pkg,libs,openblas)
CPPFLAGS += $(call pkg,cflags,hiredis libevent $(MSGPACK) openblas uuid libcjson libcrypto libcurl)
SYSTEMD_LIBS := $(shell $(PKG_CONFIG) --exists libsystemd && $(PKG_CONFIG) --libs libsystemd)
# `make V=1` shows the commands
ifeq ($(V),)
Q = @$(if $(findstring s,$(firstword -$(MAKEFLAGS))),,printf '  %-5s %s\n' $(1) $@;)
endif

ifneq ($(SYSTEMD_LIBS),)
CPPFLAGS += -DHAVE_LIBSYSTEMD
endif

PROGRAMS := kronosq-api kronosq-worker kronosq-webhook kronosq

.PHONY: all debug test check format bench help clean FORCE
.DEFAULT_GOAL := all

all: $(addprefix $(B)/,$(PROGRAMS)) ## release build into build/release (default)

debug: ## debug build with sanitizers into build/debug
	$(MAKE) MODE=debug all

$(B)/kronosq-api: $(call obj,$(API_SRC)) $(B)/api/openapi.o $(LIBCOMMON)
	$(call Q,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(COMMON_LIBS) $(call pkg,libs,libcjson) $(SYSTEMD_LIBS)

$(B)/kronosq-worker: $(call obj,$(WORKER_SRC)) $(LIBKRONOS) $(LIBCOMMON)
	$(call Q,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(KRONOS_LIBS) $(COMMON_LIBS) $(SYSTEMD_LIBS)

$(B)/kronosq-webhook: $(call obj,$(WEBHOOK_SRC)) $(LIBCOMMON)
	$(call Q,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(COMMON_LIBS) $(call pkg,libs,libcurl) $(SYSTEMD_LIBS)

$(B)/kronosq: $(call obj,$(CLI_SRC)) $(LIBCOMMON)
	$(call Q,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call pkg,libs,libcurl) $(call pkg,libs,libcjson) $(call pkg,libs,libcrypto) -lm

$(LIBCOMMON): $(call obj,$(COMMON_SRC)) $(B)/common/queue/scripts.o
	@rm -f $@
	$(call Q,AR)$(AR) rcs $@ $^

$(LIBKRONOS): $(call obj,$(KRONOS_SRC))
	@rm -f $@
	$(call Q,AR)$(AR) rcs $@ $^

# The Lua scripts become one C file: name, source (with _lib.lua after line 1) and its SHA-1.
$(B)/common/queue/scripts.c: scripts/embed-lua common/queue/_lib.lua $(LUA_SCRIPTS:%=common/queue/%.lua) Makefile
	@mkdir -p $(@D)
	scripts/embed-lua common/queue/_lib.lua $(LUA_SCRIPTS:%=common/queue/%.lua) > $@.tmp
	mv $@.tmp $@

$(B)/common/queue/scripts.o: $(B)/common/queue/scripts.c
	$(call Q,CC)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The OpenAPI document, as JSON in a C file. Debian's Python, because that has PyYAML.
$(B)/api/openapi.c: scripts/embed-openapi schemas/openapi.yaml $(wildcard schemas/examples/request-*.json) Makefile
	@mkdir -p $(@D)
	scripts/embed-openapi schemas/openapi.yaml $(VERSION) >$@.tmp
	mv $@.tmp $@

$(B)/api/openapi.o: $(B)/api/openapi.c
	$(call Q,CC)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# which sources these are, for kronos_build_info; unknown outside a clone
$(B)/commit.h: FORCE
	@mkdir -p $(@D)
	@new=$$(mktemp $@.XXXXXX) && \
	printf '#define KRONOSQ_COMMIT "%s"\n' "$$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)" >$$new && \
	{ cmp -s $$new $@ || cp $$new $@; }; status=$$?; rm -f $$new; exit $$status
$(B)/api/show_metrics.o: $(B)/commit.h

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(call Q,CC)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(EXTRA) -MMD -MP -c -o $@ $<

# ---- tests: tests/unit/X_test.c and tests/model/X_test.c are one cmocka program each ----

UNIT_TESTS := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/*_test.c))
MODEL_TESTS := $(patsubst tests/model/%.c,%,$(wildcard tests/model/*_test.c))
API_LIB_OBJ := $(call obj,$(filter-out api/main.c,$(API_SRC)))
WORKER_LIB_OBJ := $(call obj,$(filter-out worker/main.c,$(WORKER_SRC)))
WEBHOOK_LIB_OBJ := $(call obj,$(filter-out webhook/main.c,$(WEBHOOK_SRC)))
CLI_LIB_OBJ := $(call obj,$(filter-out cli/main.c,$(CLI_SRC)))
CMOCKA := $(call pkg,libs,cmocka)

# Archives, so that a test links only what it names.
$(B)/libapi.a: $(API_LIB_OBJ) $(B)/api/openapi.o
	@rm -f $@
	$(call Q,AR)$(AR) rcs $@ $^
$(B)/libworker.a: $(WORKER_LIB_OBJ)
	@rm -f $@
	$(call Q,AR)$(AR) rcs $@ $^
$(B)/libwebhook.a: $(WEBHOOK_LIB_OBJ)
	@rm -f $@
	$(call Q,AR)$(AR) rcs $@ $^
$(B)/libcli.a: $(CLI_LIB_OBJ)
	@rm -f $@
	$(call Q,AR)$(AR) rcs $@ $^

# What tests share: a private Redis, a queue in it; stored values and how to damage them.
$(B)/libtestsupport.a: $(call obj,tests/support/redis_server.c tests/support/queue_fixture.c \
	tests/support/stored_values.c tests/support/stored_damage.c tests/support/queue_oracle.c \
	tests/support/queue_oracle_admin.c tests/support/queue_random.c)
	@rm -f $@
	$(call Q,AR)$(AR) rcs $@ $^

$(B)/tests/unit/%_test: $(B)/tests/unit/%_test.o $(B)/libtestsupport.a $(B)/libapi.a $(B)/libworker.a $(B)/libwebhook.a $(B)/libcli.a $(LIBKRONOS) $(LIBCOMMON)
	$(call Q,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CMOCKA) $(KRONOS_LIBS) $(COMMON_LIBS) $(call pkg,libs,libcurl) $(SYSTEMD_LIBS)

# It runs scripts of several versions behind the back of common/queue.
$(B)/tests/unit/queue_model_test: $(B)/tests/support/script_versions.o
$(B)/tests/unit/queue_model_test: LDFLAGS += -Wl,--wrap=redisCommandArgv

# The model's tests link the model objects, error.o and cJSON, nothing else: the proof that
# worker/kronos knows nothing of the rest.
MODEL_SUPPORT := $(call obj,tests/model/twin.c tests/model/golden.c tests/model/weight_image.c tests/model/engine_run.c tests/model/walk.c)
$(B)/tests/model/%_test: $(B)/tests/model/%_test.o $(MODEL_SUPPORT) $(LIBKRONOS) $(B)/common/error.o
	$(call Q,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CMOCKA) $(KRONOS_LIBS)

# The programs behind scripts/bench. What they share: medians, results as JSON, P and B.
BENCHES := api engine load precision queue webhook_receiver
BENCH_SUPPORT := $(call obj,tests/bench/measure.c tests/bench/report.c)
BENCH_ENGINE := $(call obj,tests/bench/machine.c tests/bench/floor.c)
$(B)/tests/bench/engine: $(B)/tests/bench/engine.o $(BENCH_ENGINE) $(BENCH_SUPPORT) $(LIBKRONOS) $(B)/common/error.o
	$(call Q,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(BLAS_LIBS) $(KRONOS_LIBS)

$(B)/tests/bench/api: $(call obj,tests/bench/api.c tests/bench/api_requests.c tests/bench/repeat.c tests/support/redis_server.c) $(BENCH_SUPPORT) $(LIBCOMMON)
	$(call Q,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(COMMON_LIBS) $(call pkg,libs,libcjson)
$(B)/tests/bench/load: $(call obj,tests/bench/load.c tests/bench/load_http.c tests/bench/load_seen.c) $(BENCH_SUPPORT)
	$(call Q,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call pkg,libs,libevent) $(call pkg,libs,libcjson) -lm
$(B)/tests/bench/webhook_receiver: $(B)/tests/bench/webhook_receiver.o
	$(call Q,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(call pkg,libs,libevent)

$(B)/tests/bench/precision: $(call obj,tests/bench/precision.c tests/model/golden.c) $(BENCH_SUPPORT) $(LIBKRONOS) $(B)/common/error.o
	$(call Q,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(KRONOS_LIBS)
$(B)/tests/bench/queue: $(call obj,tests/bench/queue.c tests/bench/queue_work.c tests/support/redis_server.c) $(BENCH_SUPPORT) $(LIBCOMMON)
	$(call Q,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(COMMON_LIBS) $(call pkg,libs,libcjson) -lpthread

unit-tests: $(UNIT_TESTS:%=$(B)/tests/unit/%) ## build the unit tests
model-tests: $(MODEL_TESTS:%=$(B)/tests/model/%) ## build the model tests
TEST_TOOLS := tests/support/submit_task
$(B)/tests/support/submit_task: $(B)/tests/support/submit_task.o $(LIBCOMMON)
	$(call Q,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(COMMON_LIBS)
test-tools: $(TEST_TOOLS:%=$(B)/%) ## programs the process tests use
# Many series through the engine, for scripts/evaluate-model.
ENGINE_BATCH := $(B)/scripts/training/engine_batch
$(ENGINE_BATCH): $(ENGINE_BATCH).o $(LIBKRONOS) $(B)/common/error.o
	$(call Q,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(KRONOS_LIBS)
engine-batch: $(ENGINE_BATCH) ## build what scripts/evaluate-model runs
bench: $(BENCHES:%=$(B)/tests/bench/%) ## build the programs behind scripts/bench
.PHONY: unit-tests model-tests test-tools engine-batch
.SECONDARY:

# ---- install: `make install PREFIX=/usr DESTDIR=package`; settings and weights are the operator's ----

PREFIX ?= /usr/local
BINDIR := $(PREFIX)/bin
UNITDIR := $(PREFIX)/lib/systemd/system
DOCDIR := $(PREFIX)/share/doc/kronosq
# The worker looks for it from where it lies itself: worker/bundled_model.c.
MODELDIR := $(PREFIX)/share/kronosq/models/kronos-demo
MODEL_FILES := $(foreach part,model tokenizer,$(part)/config.json $(part)/model.safetensors)
UNITS := kronosq.target kronosq-api.service kronosq-worker@.service kronosq-webhook.service
DOCS := LICENSE docs/operations.md docs/webhooks.md $(addprefix systemd/,api.conf.example worker.conf.example webhook.conf.example \
	redis-elsewhere.conf.example keys.conf.example kronosq-redis.conf.example)

install: all ## binaries, units, examples and the bundled model into $(DESTDIR)$(PREFIX), /usr/local
	install -d $(addprefix '$(DESTDIR),$(addsuffix ',$(BINDIR) $(UNITDIR) $(DOCDIR)))
	install -m 755 $(PROGRAMS:%=$(B)/%) '$(DESTDIR)$(BINDIR)'
	install -m 644 $(DOCS) '$(DESTDIR)$(DOCDIR)'
	for file in $(MODEL_FILES); do \
		install -D -m 644 models/kronos-demo/$$file '$(DESTDIR)$(MODELDIR)'/$$file || exit 1; \
	done
	for unit in $(UNITS); do \
		sed 's|/usr/local/bin/|$(BINDIR)/|' systemd/$$unit >'$(DESTDIR)$(UNITDIR)'/$$unit && \
		chmod 644 '$(DESTDIR)$(UNITDIR)'/$$unit || exit 1; \
	done

uninstall: ## remove what install put there, and nothing else
	rm -f $(addprefix '$(DESTDIR)$(BINDIR)/,$(addsuffix ',$(PROGRAMS)))
	rm -f $(addprefix '$(DESTDIR)$(UNITDIR)/,$(addsuffix ',$(UNITS)))
	rm -f $(addprefix '$(DESTDIR)$(DOCDIR)/,$(addsuffix ',$(notdir $(DOCS))))
	rm -f $(addprefix '$(DESTDIR)$(MODELDIR)/,$(addsuffix ',$(MODEL_FILES)))
	for folder in '$(DOCDIR)' '$(MODELDIR)/model' '$(MODELDIR)/tokenizer' '$(MODELDIR)' '$(PREFIX)/share/kronosq/models' \
		'$(PREFIX)/share/kronosq'; do \
		[ ! -d '$(DESTDIR)'"$$folder" ] || rmdir --ignore-fail-on-non-empty '$(DESTDIR)'"$$folder" || exit 1; \
	done
.PHONY: install uninstall

test: ## everything: scripts/test
	scripts/test

check: ## warnings are errors, with gcc and clang where installed
	$(MAKE) MODE=debug WERROR=-Werror all unit-tests model-tests

format: ## clang-format every C file
	clang-format -i $$(git ls-files '*.c' '*.h')

clean: ## remove build/
	rm -rf build

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

-include $(shell find $(B) -name '*.d' 2>/dev/null)
