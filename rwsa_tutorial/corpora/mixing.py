"""Speech and noise mixed on the fly."""

import numpy as np


def mix(speech, noise, snr_db):
    """speech + noise with the noise scaled to an SNR in dB (ratio of powers over the whole clip).

    speech, noise: (n,) float. Returns the mixture (n,). Silent speech or silent noise leaves the
    noise as it is. Raises ValueError when the lengths differ.
    """
    if speech.shape != noise.shape:
        raise ValueError(f"speech {speech.shape} and noise {noise.shape} differ in length")
    power, noise_power = np.mean(np.square(speech)), np.mean(np.square(noise))
    if power == 0 or noise_power == 0:
        return speech + noise
    return speech + noise * np.sqrt(power / noise_power) * 10 ** (-snr_db / 20)
