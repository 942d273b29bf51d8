/* needs: nearest, word */
/* exp(x) = 2^n exp(r) with |r| <= ln 2 / 2, and its Taylor series; ln 2 in two parts, so that r is exact. */
APART float exponential(float x)
{
    const float bounded = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    const int32_t power = nearest(bounded * 0x1.7154760000000p+0f, -200.0f, 200.0f);
    const float rest = (bounded - (float)power * 0x1.6300000000000p-1f) - (float)power * -0x1.bd01060000000p-13f;
    static const float series[8] = { 0x1.a01a020000000p-13f, 0x1.6c16c20000000p-10f, 0x1.1111120000000p-7f, 0x1.5555560000000p-5f, 0x1.5555560000000p-3f, 0x1.0000000000000p-1f, 0x1.0000000000000p+0f, 0x1.0000000000000p+0f };
    union word scale;
    float value = series[0];
    int32_t i;
    for (i = 1; i < 8; i++)
        value = value * rest + series[i];
    scale.u = (uint32_t)(power + 127) << 23;
    return x < -87.0f ? 0.0f : value * scale.f;
}
