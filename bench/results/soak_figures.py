"""What a soak's readings mean: what was kept, and how memory grew. Pure."""

from bench.results.run import SoakResult


def kept(result: SoakResult) -> list[str]:
    """What a server has not let go, in words; empty: everything returned to where it was."""
    names = ("open_files", "tasks")
    pairs = [(name, getattr(result.before, name), getattr(result.after, name)) for name in names]
    return [
        f"{name.replace('_', ' ')} {before} before, {after} after" for name, before, after in pairs if after > before
    ]


def slope_bytes_per_min(result: SoakResult) -> float:
    """Growth of resident memory over the second half, by least squares: the first half fills caches and histories."""
    samples = result.samples[len(result.samples) // 2 :]
    if len(samples) < 3:
        return 0.0
    mean_t = sum(sample.at_s for sample in samples) / len(samples)
    mean_y = sum(sample.rss_bytes for sample in samples) / len(samples)
    over = sum((sample.at_s - mean_t) * (sample.rss_bytes - mean_y) for sample in samples)
    return 60.0 * over / sum((sample.at_s - mean_t) ** 2 for sample in samples)
