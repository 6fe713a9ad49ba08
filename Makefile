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
PKGS = libevent libevent_openssl libpq libcurl yaml-0.1 jansson libseccomp openssl
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
LIBS = $(L_IPC) $(L_HELPER) $(L_CONF) $(L_MASTER) $(L_HA) $(L_PG) $(L_CTL) $(L_DCS) $(L_REST) $(L_WD)

PROGRAMS = $(B)/patroni $(B)/patroni-dcs $(B)/patroni-rest $(B)/patroni-postgres \
	$(B)/patroni-watchdog $(B)/patronictl
SIM = $(B)/sim
UNIT = $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))

all: $(PROGRAMS) $(SIM)
.DEFAULT_GOAL = all

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo CC $<; $(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

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
$(L_DCS): $(call obj,dcs)
	$(ar)
$(L_REST): $(call obj,rest)
	$(ar)
$(L_WD): $(call obj,watchdog)
	$(ar)

link = @mkdir -p $(@D) && echo LD $@ && $(CC) $(OPT) $(LDHARDEN) -o $@ $(filter %.o %.a,$^)

$(B)/patroni: $(B)/obj/master/main.o $(L_MASTER) $(L_CONF) $(L_HELPER) $(L_IPC)
	$(link) -lyaml -lseccomp -ljansson
$(B)/patroni-dcs: $(B)/obj/dcs/main.o $(L_DCS) $(L_HELPER) $(L_IPC)
	$(link) -levent -lcurl -ljansson -lseccomp
$(B)/patroni-rest: $(B)/obj/rest/main.o $(L_REST) $(L_HA) $(L_HELPER) $(L_IPC)
	$(link) -levent -levent_openssl -lssl -lcrypto -ljansson -lseccomp
$(B)/patroni-postgres: $(B)/obj/helpers/postgres/main.o $(L_PG) $(L_HA) $(L_HELPER) $(L_IPC)
	$(link) -levent -lpq -ljansson -lseccomp
$(B)/patroni-watchdog: $(B)/obj/watchdog/main.o $(L_WD) $(L_IPC)
	$(link)
$(B)/patronictl: $(B)/obj/helpers/ctl/main.o $(L_CTL) $(L_CONF) $(L_DCS) $(L_HA) $(L_HELPER) $(L_IPC)
	$(link) -levent -lcurl -lyaml -ljansson -lseccomp
$(SIM): $(call obj,tests/sim) $(B)/obj/tests/sim/main.o $(L_HA) $(L_IPC)
	$(link)
$(B)/unit/%: $(B)/obj/tests/unit/%.o $(LIBS)
	@mkdir -p $(@D)
	@echo LD $@; $(CC) $(OPT) $(LDHARDEN) -o $@ $< -Wl,--start-group $(LIBS) -Wl,--end-group \
	    -lcmocka -levent -levent_openssl -lssl -lcrypto -lpq -lcurl -lyaml -ljansson -lseccomp

unit: $(UNIT)

clean:
	rm -rf build build-san build-acts

.PHONY: all unit clean
-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
