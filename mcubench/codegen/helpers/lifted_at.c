/* needs: compiler */
/* A code of a channel, lifted to be positive; `outside` is that of what lies beyond the line. */
INLINE uint32_t lifted_at(const int8_t *line, int32_t width, int32_t channels, int32_t at, uint32_t outside)
{
    return at >= 0 && at < width ? (uint32_t)(line[at * channels] + 129) : outside;
}
