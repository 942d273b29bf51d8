/* needs: exponential */
APART float tanh_of(float x)
{
    const float size = x < 0.0f ? -x : x, bounded = size > 9.5f ? 9.5f : size;
    const float value = 1.0f - 2.0f / (exponential(bounded + bounded) + 1.0f);
    return x < 0.0f ? -value : value;
}
