#!/usr/bin/env bash
# unicorn: a hook for writes to memory changes what a Thumb program computes behind a conditional store.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check unicorn==2.1.4
cd "$place"
venv/bin/python - <<'PROGRAM'
import sys

import unicorn
from unicorn import arm_const

# cmp r3, #50; it gt; strgt r0, [r1]; cmp r3, #60; b on; nop; on: movs r6, #99; bx lr
CODE = bytes.fromhex("322bc8bf08603c2b00e000bf63267047")


def r6(hook: int | None) -> int:
    cpu = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
    cpu.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M4)
    for start in (0x1000, 0x2000, 0x3000):
        cpu.mem_map(start, 0x1000)
    cpu.mem_write(0x1000, CODE)
    if hook is not None:
        cpu.hook_add(hook, lambda *_: None)  # which does nothing
    cpu.reg_write(arm_const.UC_ARM_REG_R1, 0x2000)
    cpu.reg_write(arm_const.UC_ARM_REG_R3, 51)
    cpu.reg_write(arm_const.UC_ARM_REG_LR, 0x3001)
    cpu.emu_start(0x1001, 0x3000)
    return int(cpu.reg_read(arm_const.UC_ARM_REG_R6))


found = {
    "no hook": r6(None),
    "UC_HOOK_MEM_READ": r6(unicorn.UC_HOOK_MEM_READ),
    "UC_HOOK_MEM_WRITE": r6(unicorn.UC_HOOK_MEM_WRITE),
}
print(f"unicorn {unicorn.__version__}, Cortex-M4: r6 behind an unconditional movs r6, #99 in the block after an IT with a store")
for hook, value in found.items():
    print(f"{hook}: {value}")
print("A hook that only looks should change nothing: one would expect 99 three times. With one for writes, the state of the")
print("IT block is still there when the next block begins, and its first instruction is skipped as if it were conditional.")
if found != {"no hook": 99, "UC_HOOK_MEM_READ": 99, "UC_HOOK_MEM_WRITE": 0}:
    sys.exit("this is no longer so")
PROGRAM
