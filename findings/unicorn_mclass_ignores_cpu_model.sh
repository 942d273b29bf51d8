#!/usr/bin/env bash
# unicorn: the mode for microcontrollers takes no notice of the core that is chosen.
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

CODE = bytes.fromhex("20fb00007047")  # smlad r0, r0, r0, r0; bx lr: of cores with DSP instructions, which a Cortex-M0 is not


def tried(mode: int) -> str:
    cpu = unicorn.Uc(unicorn.UC_ARCH_ARM, mode)
    cpu.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M0)
    for start in (0x1000, 0x3000):
        cpu.mem_map(start, 0x1000)
    cpu.mem_write(0x1000, CODE)
    cpu.reg_write(arm_const.UC_ARM_REG_R0, 3)
    cpu.reg_write(arm_const.UC_ARM_REG_LR, 0x3001)
    try:
        cpu.emu_start(0x1001, 0x3000)
        ran = f"SMLAD gives {cpu.reg_read(arm_const.UC_ARM_REG_R0)}"
    except unicorn.UcError:
        ran = "SMLAD is refused"
    return ran


found = {"UC_MODE_THUMB": tried(unicorn.UC_MODE_THUMB)}
found["UC_MODE_THUMB | UC_MODE_MCLASS"] = tried(unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
print(f"unicorn {unicorn.__version__}, ctl_set_cpu_model(UC_CPU_ARM_CORTEX_M0), which is accepted both times")
for mode, what in found.items():
    print(f"{mode}: {what}")
print("A Cortex-M0 has no SMLAD, and MCLASS is the profile of microcontrollers: one would expect it to be refused in both modes.")
if found != {"UC_MODE_THUMB": "SMLAD is refused", "UC_MODE_THUMB | UC_MODE_MCLASS": "SMLAD gives 12"}:
    sys.exit("this is no longer so")
PROGRAM
