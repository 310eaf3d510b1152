# SPDX-License-Identifier: MIT
"""Recipes over all parameters: cluster sizes, refcount widths, entry formats, versions."""


def sweep():
    """A covering set: each cluster size, each width at a small and a large size, both formats."""
    for bits in range(9, 22):
        yield bits, bits % 7, False, 3
        if bits >= 14:
            yield bits, (bits + 3) % 7, True, 3
    for order in range(7):
        yield 9, order, False, 3
        yield 16, order, True, 3
    for bits in (9, 12, 16, 21):
        yield bits, 4, False, 2


def everything(bits, order, extended, version):
    """A recipe with every structure that fits these parameters."""
    size = 1 << bits
    single = order == 0  # one-bit counts leave no room for sharing
    lines = ["# a sweep", f"version {version}", f"cluster_bits {bits}", f"size {size * 300 + 512}",
             f"refcount_order {order}", "extended_l2" if extended else "",
             f"write 0 {size * 3}", f"write {size * 100 + 512} 1024", f"gap {bits % 4}"]
    if version == 3:
        lines.append(f"zero {size * 5} {size * 2}")
        lines.append(f"zero {size * 9} {size} allocated")
        lines.append(f"bitmap b0 granularity=4k flags=auto bits=0-9,{300 * size // 4096}")
        lines.append("bitmap b1 granularity=64k table=ones")
    if extended:
        lines.append(f"subclusters {size * 20} alloc=0-3,30 zero=4-7")
        lines.append(f"subclusters {size * 21} zero=0,31")
    if not single and order != 1:
        method = "zstd" if bits % 2 and version == 3 else "deflate"
        lines.append(f"compressed {size * 40} {size * 3} {method}")
        lines.append(f"compressed {size * 50} {size} {method} pattern=mixed" if bits > 10 else "")
    if not single:
        lines += ["snapshot 1 name=first vmstate=3000", f"write 0 {size} pattern=0x99"]
    return "\n".join(lines)
