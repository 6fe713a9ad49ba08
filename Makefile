# Build, test and demonstrate.  `make help` lists the targets.

CC ?= gcc
ifeq ($(origin CC),default)
CC = gcc
endif
SAN ?= 0
# ACTS=1: a test build in which helpers attempt what their sandbox forbids
ACTS ?= 0
ifeq ($(SAN),1)
B = build-san
else ifeq ($(ACTS),1)
B = build-acts
CPPFLAGS += -DTEST_ACTS
else
B = build
endif

WARN = -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wundef -Wvla \
	-Wimplicit-fallthrough -Werror
HARDEN = -fstack-protector-strong -fPIE
LDHARDEN = -pie -Wl,-z,relro,-z,now
ifeq ($(SAN),1)
OPT = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -DSANITIZED
LDHARDEN += -fsanitize=address,undefined
else
OPT = -O2 -g -D_FORTIFY_SOURCE=3
endif
PKGS = libcares libevent libevent_openssl libpq libcurl yaml-0.1 jansson libseccomp openssl
CPPFLAGS += -D_GNU_SOURCE -I. $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CFLAGS += -std=gnu11 $(WARN) $(OPT) $(HARDEN) -MMD -MP

rooms = ipc helpers master/conf master helpers/ha helpers/postgres helpers/ctl dcs rest watchdog
# objects of a room without its main.c
obj = $(patsubst %.c,$(B)/obj/%.o,$(filter-out $(1)/main.c,$(wildcard $(1)/*.c)))

L_IPC = $(B)/libipc.a
L_HELPER = $(B)/libhelper.a
L_CONF = $(B)/libconf.a
L_MASTER = $(B)/libmaster.a
L_HA = $(B)/libha.a
L_PG = $(B)/libpostgres.a
L_CTL = $(B)/libctl.a
L_DCS = $(B)/libdcs.a
L_REST = $(B)/librest.a
L_WD = $(B)/libwatchdog.a
# requests by libcurl: a module of patroni-dcs, a part of other programs
CURL = $(B)/obj/dcs/http_curl.o
# TLS of the REST API likewise
TLS = $(B)/obj/rest/tls.o
LIBS = $(L_IPC) $(L_HELPER) $(L_CONF) $(L_MASTER) $(L_HA) $(L_PG) $(L_CTL) $(L_DCS) $(L_REST) $(L_WD)

PROGRAMS = $(B)/patroni $(B)/patroni-dcs $(B)/patroni-rest $(B)/patroni-postgres \
	$(B)/patroni-watchdog $(B)/patronictl $(B)/patroni-https.so $(B)/patroni-rest-tls.so
SIM = $(B)/sim
AGENT = $(B)/store-agent
UNIT = $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))

all: $(PROGRAMS) $(SIM) $(AGENT)
.DEFAULT_GOAL = all

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo CC $<; $(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(B)/pic/%.o: %.c
	@mkdir -p $(@D)
	@echo CC $< '(module)'; $(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -c -o $@ $<

ar = @rm -f $@ && ar rcs $@ $^
$(L_IPC): $(call obj,ipc)
	$(ar)
$(L_HELPER): $(call obj,helpers)
	$(ar)
$(L_CONF): $(call obj,master/conf)
	$(ar)
$(L_MASTER): $(call obj,master)
	$(ar)
$(L_HA): $(call obj,helpers/ha)
	$(ar)
$(L_PG): $(call obj,helpers/postgres)
	$(ar)
$(L_CTL): $(call obj,helpers/ctl)
	$(ar)
$(L_DCS): $(filter-out $(CURL),$(call obj,dcs))
	$(ar)
$(L_REST): $(filter-out $(TLS),$(call obj,rest))
	$(ar)
$(L_WD): $(call obj,watchdog)
	$(ar)

link = @mkdir -p $(@D) && echo LD $@ && $(CC) $(OPT) $(LDHARDEN) -o $@ $(filter %.o %.a,$^)

module = @mkdir -p $(@D) && echo LD $@ && $(CC) $(OPT) -shared \
	-Wl,-z,relro,-z,now,-z,defs -o $@ $^

$(B)/patroni: $(B)/obj/master/main.o $(L_MASTER) $(L_CONF) $(L_HELPER) $(L_IPC)
	$(link) -lyaml -lseccomp -ljansson
$(B)/patroni-dcs: $(B)/obj/dcs/main.o $(L_DCS) $(L_HELPER) $(L_IPC)
	$(link) -levent -ljansson -lseccomp -lzookeeper_st -lcares
$(B)/patroni-https.so: $(patsubst %,$(B)/pic/%.o,dcs/http_curl dcs/http_answer ipc/clock ipc/types)
	$(module) -levent -lcurl
$(B)/patroni-rest: $(B)/obj/rest/main.o $(L_REST) $(L_HA) $(L_HELPER) $(L_IPC)
	$(link) -levent -ljansson -lseccomp
$(B)/patroni-rest-tls.so: $(B)/pic/rest/tls.o
	$(module) -lssl -lcrypto
$(B)/patroni-postgres: $(B)/obj/helpers/postgres/main.o $(L_PG) $(L_HA) $(L_HELPER) $(L_IPC)
	$(link) -levent -lpq -ljansson -lseccomp
$(B)/patroni-watchdog: $(B)/obj/watchdog/main.o $(L_WD) $(L_IPC)
	$(link)
$(B)/patronictl: $(B)/obj/helpers/ctl/main.o $(CURL) $(L_CTL) $(L_CONF) $(L_DCS) $(L_HA) $(L_HELPER) $(L_IPC)
	$(link) -levent -lpq -lcurl -lyaml -ljansson -lseccomp -lzookeeper_st -lcares
$(SIM): $(call obj,tests/sim) $(B)/obj/tests/sim/main.o $(L_HA) $(L_IPC)
	$(link)
$(B)/unit/%: $(B)/obj/tests/unit/%.o $(CURL) $(TLS) $(LIBS)
	@mkdir -p $(@D)
	@echo LD $@; $(CC) $(OPT) $(LDHARDEN) -o $@ $< $(CURL) $(TLS) -Wl,--start-group $(LIBS) -Wl,--end-group \
	    -lcmocka -levent -levent_openssl -lssl -lcrypto -lpq -lcurl -lyaml -ljansson -lseccomp -lzookeeper_st -lcares

# a client of a store under the command of tests/system/test_conformance.py
$(AGENT): $(B)/obj/tests/conformance/agent.o $(CURL) $(L_DCS) $(L_HELPER) $(L_IPC)
	$(link) -levent -lcurl -ljansson -lseccomp -lzookeeper_st -lcares

# the simulator with a core that can be told to break its own rules
SIMBREAK = $(B)/sim-break
$(B)/brk/%.o: %.c
	@mkdir -p $(@D)
	@echo CC $< '(breakable)'; $(CC) $(CPPFLAGS) -DHA_TEST_BREAK $(CFLAGS) -c -o $@ $<
$(SIMBREAK): $(patsubst %.c,$(B)/brk/%.o,$(wildcard tests/sim/*.c helpers/ha/*.c)) $(L_IPC)
	$(link)

# The simulator as one program, as fast as the compiler can make it: for runs
# of a million hours.  Built twice: the first tells the second, which has to
# have the same name, what a run spends its time on.
SIMFAST = $(B)/sim-fast
SIMFAST_CC = gcc -D_GNU_SOURCE -DSIM_FAST -I. -std=gnu11 $(WARN) -O3 -march=native
$(SIMFAST): $(wildcard tests/sim/*.[ch] tests/sim/*.def helpers/ha/*.[ch] ipc/*.[ch])
	@echo CC $@; rm -rf $(B)/fast && mkdir -p $(B)/fast
	@$(SIMFAST_CC) -fprofile-generate -o $(B)/fast/sim $(filter %.c,$^)
	@$(B)/fast/sim --seeds 60 --quiet >/dev/null || [ $$? -eq 1 ]
	@$(SIMFAST_CC) -fprofile-use -Wno-missing-profile -flto=auto -static \
	    -o $(B)/fast/sim $(filter %.c,$^)
	@mv $(B)/fast/sim $@

unit: $(PROGRAMS) $(UNIT)

# ---- for people ----

.PHONY: demo demo-stop demo-node check check-long rules bench bench-stores fuzz lint format install

deps-%:
	@tests/tools/deps.sh $*

demo: deps-build
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@tests/demo/demo.sh start $(B)
demo-stop:
	@tests/demo/demo.sh stop $(B)
demo-node:
	@NODE=$(NODE) tests/demo/demo.sh node $(B)

check: deps-check
	@$(MAKE) --no-print-directory -j$$(nproc) all unit $(SIMBREAK)
	@$(MAKE) --no-print-directory -j$$(nproc) SAN=0 ACTS=1 build-acts-programs
	@tests/tools/check.sh $(B)
check-long: deps-dev
	@$(MAKE) --no-print-directory -j$$(nproc) all unit $(SIMBREAK)
	@$(MAKE) --no-print-directory -j$$(nproc) SAN=0 ACTS=1 build-acts-programs
	@tests/tools/check.sh $(B) long
	@$(MAKE) --no-print-directory fuzz
# which test shows which rule, and which section, of spec/ha.md
rules: deps-check $(UNIT) $(B)/sim
	@rm -f $(B)/rules.log
	@for t in $(filter $(B)/unit/test_ha_%,$(UNIT)); do \
	    RULES_LOG=$(B)/rules.log $$t >/dev/null 2>&1 || exit 1; done
	@RULES_LOG=$(B)/rules.log $(B)/sim --seeds 200 --quiet >/dev/null
	@tests/tools/rules.py $(B)/rules.log
# always without sanitizers: it is about the sandbox
build-acts-programs: $(PROGRAMS)
bench: deps-check
	@$(MAKE) --no-print-directory -j$$(nproc) all $(B)/http_load
	@tests/tools/as_user.sh /usr/bin/python3 tests/bench/bench.py $(B)
bench-stores: deps-check
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@tests/tools/as_user.sh /usr/bin/python3 tests/bench/stores.py $(B)
$(B)/http_load: tests/bench/http_load.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDHARDEN) -o $@ $<

FUZZ_SECONDS ?= 60
FUZZERS = $(patsubst tests/fuzz/%.c,build-fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SRC = $(filter-out %/main.c,$(wildcard $(addsuffix /*.c,$(rooms))))
build-fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo CC $< '(fuzz)'; clang $(CPPFLAGS) -std=gnu11 -O1 -g -fsanitize=fuzzer-no-link,address,undefined -c -o $@ $<
build-fuzz/all.a: $(patsubst %.c,build-fuzz/obj/%.o,$(FUZZ_SRC))
	@rm -f $@ && ar rcs $@ $^
build-fuzz/%: tests/fuzz/%.c build-fuzz/all.a
	@echo LD $@; clang $(CPPFLAGS) -std=gnu11 -O1 -g -fsanitize=fuzzer,address,undefined -o $@ $^ \
	    -levent -levent_openssl -lssl -lcrypto -lpq -lcurl -lyaml -ljansson -lseccomp -lzookeeper_st -lcares -lm
fuzz: deps-dev
	@$(MAKE) --no-print-directory -j$$(nproc) $(FUZZERS)
	@tests/tools/fuzz.sh $(FUZZ_SECONDS) $(FUZZERS)

SOURCES = $(wildcard $(addsuffix /*.c,$(rooms)) $(addsuffix /*.h,$(rooms)) tests/*/*.c tests/*/*.h)
format: deps-dev
	clang-format -i $(SOURCES)
lint: deps-dev
	@tests/tools/lint.sh $(SOURCES)

DESTDIR ?=
PREFIX ?= /usr/local
LIBEXECDIR ?= $(PREFIX)/libexec/patroni
CPPFLAGS += -DLIBEXECDIR='"$(LIBEXECDIR)"'
install: all
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(LIBEXECDIR) \
	    $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 \
	    $(DESTDIR)$(PREFIX)/share/man/man8 $(DESTDIR)$(PREFIX)/share/doc/patroni \
	    $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 755 $(B)/patroni $(DESTDIR)$(PREFIX)/sbin/
	install -m 755 $(B)/patronictl $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(B)/patroni-dcs $(B)/patroni-rest $(B)/patroni-postgres \
	    $(B)/patroni-watchdog $(DESTDIR)$(LIBEXECDIR)/
	install -m 644 $(B)/patroni-https.so $(B)/patroni-rest-tls.so $(DESTDIR)$(LIBEXECDIR)/
	install -m 644 helpers/ctl/patronictl.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 master/patroni.conf.5 $(DESTDIR)$(PREFIX)/share/man/man5/
	install -m 644 master/patroni.8 $(DESTDIR)$(PREFIX)/share/man/man8/
	install -m 644 patroni.conf.example rest/haproxy.cfg.example dcs/kubernetes.yaml $(DESTDIR)$(PREFIX)/share/doc/patroni/
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions
	install -m 644 helpers/ctl/completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/patronictl
	install -m 644 helpers/ctl/completion.zsh $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_patronictl
	sed 's|@SBINDIR@|$(PREFIX)/sbin|' master/patroni.service \
	    >$(DESTDIR)$(PREFIX)/lib/systemd/system/patroni.service

help:
	@echo 'make             build everything into $(B)/'
	@echo 'make demo        start a three-node cluster here (demo-stop ends it)'
	@echo 'make check       build and run the tests; SAN=1: with sanitizers'
	@echo 'make check-long  more of everything, and a fuzz smoke'
	@echo 'make rules       which test shows which rule and section of the HA rules'
	@echo 'make bench       measure, beside Python Patroni when installed'
	@echo 'make bench-stores  requests per loop and failover time on each store'
	@echo 'make fuzz        fuzz every parser FUZZ_SECONDS=60 each'
	@echo 'make lint, make format, make install PREFIX=$(PREFIX), make clean'

clean:
	rm -rf build build-san build-acts build-fuzz

.PHONY: all unit clean help build-acts-programs
-include $(shell find $(B)/obj $(B)/pic $(B)/brk -name '*.d' 2>/dev/null)
