/* needs: compiler */
APART void fill_words(uint32_t *words, uint32_t word, int32_t count)
{
    for (; count > 0; count--)
        *words++ = word;
}
