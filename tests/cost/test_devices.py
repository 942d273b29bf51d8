"""The device table, and models held against it.

Latencies are worked out by hand from MACs, cycles and clock; sizes stand in the vendors' datasheets; the figures per
core are recomputed from inference rates in MLPerf Tiny logs.
"""

from __future__ import annotations

import dataclasses

import pytest

from mcubench.cost.devices import Device, Fit, devices, find_device
from mcubench.errors import UserError

F446 = "stm32f446"
KIB = 1024


def test_latency_by_hand() -> None:
    # 288,512 MACs x 1.4 = 403,916.8 cycles and x 4.8 = 1,384,857.6 cycles; at 180 MHz 2.24398 ms and 7.69365 ms.
    assert find_device(F446).latency(288_512) == pytest.approx((2.24398e-3, 7.69365e-3), rel=1e-5)


@pytest.mark.parametrize(
    ("core", "fewest", "most"),
    # (clock in Hz, MACs of the net, inferences/s in its log), from the submissions that devices.toml names.
    [
        ("cortex-m4", (120e6, 7_489_664, 11.245), (120e6, 7_489_664, 3.324)),
        ("cortex-m7", (280e6, 7_489_664, 42.009), (280e6, 264_192, 816.004)),
        ("cortex-m33", (160e6, 7_489_664, 16.870), (160e6, 264_192, 323.527)),
        ("cortex-m0+", (64e6, 12_501_632, 0.657), (64e6, 7_489_664, 0.707)),
    ],
)
def test_cycles_per_mac_are_those_of_the_mlperf_tiny_logs(
    core: str, fewest: tuple[float, float, float], most: tuple[float, float, float]
) -> None:
    figures = next(device.cycles_per_mac for device in devices().values() if device.core == core)
    assert figures is not None
    for figure, (clock, macs, rate) in ((figures.low, fewest), (figures.high, most)):
        # The table is rounded to tenths, from ten on to whole cycles.
        assert figure == pytest.approx(clock / macs / rate, abs=0.05 if figure < 10 else 0.5)


@pytest.mark.parametrize(
    ("key", "core", "clock_mhz", "flash_kib", "ram_kib"),
    # The vendors' datasheets; devices.toml names each.
    [
        ("stm32l4r5", "cortex-m4", 120, 2048, 640),
        ("stm32f446", "cortex-m4", 180, 512, 128),
        ("stm32h743", "cortex-m7", 480, 2048, 1024),
        ("stm32u575", "cortex-m33", 160, 2048, 768),
        ("stm32g0b1", "cortex-m0+", 64, 512, 144),
        ("stm32f103", "cortex-m3", 72, 64, 20),
        ("nrf52840", "cortex-m4", 64, 1024, 256),
        ("nrf5340", "cortex-m33", 128, 1024, 512),
        ("rp2040", "cortex-m0+", 133, 2048, 264),
        ("esp32s3", "xtensa-lx7", 240, 8192, 512),
        ("ch32v003", "qingke-v2a", 48, 16, 2),
        ("atmega328p", "avr", 20, 32, 2),
    ],
)
def test_clock_and_sizes_are_those_of_the_datasheet(
    key: str, core: str, clock_mhz: int, flash_kib: int, ram_kib: int
) -> None:
    device = find_device(key)
    found = (device.core, device.clock_hz, device.flash, device.ram)
    assert found == (core, clock_mhz * 10**6, flash_kib * 1024, ram_kib * 1024)


@pytest.mark.parametrize("device", devices().values(), ids=lambda device: device.key)
def test_every_device_is_complete(device: Device) -> None:
    # What find_device looks up has no hyphens, underscores or capitals, so no key may have them.
    assert device.key.isalnum()
    assert device.key == device.key.lower()
    assert min(device.clock_hz, device.flash, device.ram) > 0
    assert device.source.strip()
    if device.cycles_per_mac is not None:
        assert 0 < device.cycles_per_mac.low < device.cycles_per_mac.high
        assert "MLPerf Tiny" in device.cycles_per_mac.source


def test_every_core_with_figures_has_a_device() -> None:
    # The four cores of the specification; a core misspelt in a device's row would lose its figures.
    with_figures = {device.core for device in devices().values() if device.cycles_per_mac is not None}
    assert with_figures == {"cortex-m4", "cortex-m7", "cortex-m33", "cortex-m0+"}


def test_external_flash_is_said() -> None:
    # The RP2040 has no flash of its own (its datasheet, section 1): 2 MiB is the Pico's chip.
    assert "2 MiB on the Pico" in (find_device("rp2040").note or "")


@pytest.mark.parametrize("name", ["stm32f446", "STM32F446", "stm32-f446", "STM32_F446", " Stm32 F446 "])
def test_names_are_tolerant(name: str) -> None:
    assert find_device(name) is devices()[F446]


def test_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(UserError) as caught:
        find_device("STM32-F447")
    message = str(caught.value)
    assert message.startswith("Unknown device 'STM32-F447'; known are ")
    assert all(key in message for key in devices())
    assert message.endswith("Did you mean 'stm32f446'?")


def test_nothing_is_suggested_for_a_far_name() -> None:
    with pytest.raises(UserError, match=r"atmega328p\.$"):
        find_device("toaster")


@pytest.mark.parametrize(
    ("flash", "ram", "fits"),
    [
        (512 * KIB, 128 * KIB, True),
        (512 * KIB + 1, 128 * KIB, False),
        (512 * KIB, 128 * KIB + 1, False),
        (512 * KIB + 1, 128 * KIB + 1, False),
    ],
)
def test_the_last_byte_counts(flash: int, ram: int, fits: bool) -> None:
    fit = Fit(find_device(F446), flash=flash, ram=ram, macs=1)
    assert fit.fits is fits
    assert fit.describe().startswith("STM32F446RE: fits;" if fits else "STM32F446RE: does not fit,")


def test_shares() -> None:
    fit = Fit(find_device(F446), flash=64 * KIB, ram=192 * KIB, macs=1)
    assert (fit.flash_share, fit.ram_share) == (0.125, 1.5)


def test_description_of_what_fits() -> None:
    # 63,590 / 1024 = 62.1; 62.1 / 512 = 12 %; 9 / 128 = 7 %; 412,000 x 1.4 / 180e6 = 3.2 ms, x 4.8 = 11 ms.
    fit = Fit(find_device(F446), flash=63_590, ram=9 * KIB, macs=412_000)
    assert fit.latency == find_device(F446).latency(412_000)
    assert fit.describe() == (
        "STM32F446RE: fits; flash 62.1 KiB of 512 KiB (12 %), RAM 9.0 KiB of 128 KiB (7 %); "
        "3.2 to 11 ms at 180 MHz (1.4 to 4.8 int8 cycles per MAC, MLPerf Tiny logs)"
    )


def test_description_of_what_does_not_fit() -> None:
    # Flash: 640 - 512 = 128 KiB over, 125 %; RAM: one byte over.
    line = Fit(find_device(F446), flash=640 * KIB, ram=128 * KIB + 1, macs=1).describe()
    assert line.startswith("STM32F446RE: does not fit, flash is 128.0 KiB over and RAM is 1 byte over; ")
    assert "flash 640.0 KiB of 512 KiB (125 %), RAM 128.0 KiB of 128 KiB (> 100 %)" in line


def test_only_what_is_over_is_called_over() -> None:
    line = Fit(find_device("ch32v003"), flash=KIB, ram=3 * KIB, macs=1).describe()
    assert line.startswith("CH32V003: does not fit, RAM is 1.0 KiB over; ")


@pytest.mark.parametrize(
    ("flash", "percent"),
    # Of 512 KiB = 524,288 bytes, 1 % is 5,242.88: rounding must hide neither a little use nor the last free byte.
    [(0, "0 %"), (1, "< 1 %"), (5_242, "< 1 %"), (5_243, "1 %"), (524_287, "> 99 %"), (524_288, "100 %")],
)
def test_percent_at_the_ends(flash: int, percent: str) -> None:
    assert f" of 512 KiB ({percent}), RAM " in Fit(find_device(F446), flash=flash, ram=KIB, macs=1).describe()


@pytest.mark.parametrize(
    ("macs", "span"),
    # At 180 MHz: 1,000 MACs take 1,400 to 4,800 cycles; each row is that, times a power of ten.
    [
        (1_000, "7.8 to 27 µs"),
        (10_000_000, "78 to 270 ms"),
        (100_000_000, "0.78 to 2.7 s"),
        (10_000_000_000, "78 to 270 s"),
    ],
)
def test_units_of_latency(macs: int, span: str) -> None:
    assert f"; {span} at 180 MHz" in Fit(find_device(F446), flash=KIB, ram=KIB, macs=macs).describe()


@pytest.mark.parametrize(
    ("key", "core"),
    [("esp32s3", "xtensa-lx7"), ("ch32v003", "qingke-v2a"), ("atmega328p", "avr"), ("stm32f103", "cortex-m3")],
)
def test_latency_is_unknown_without_published_figures(key: str, core: str) -> None:
    fit = Fit(find_device(key), flash=KIB, ram=KIB, macs=1_000_000)
    assert fit.latency is None
    assert fit.describe().endswith(f"; latency ? (no published cycles per MAC for the core {core})")


def test_devices_can_not_be_altered() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        find_device(F446).flash = 0  # type: ignore[misc]
