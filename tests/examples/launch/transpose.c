/* transpose.c: the kernel of transpose.json: y[j][i] = x[i][j] by tiles.  Compiled by Hone when it tunes, with TILE as a macro; and into the examples once
 * for each value of TILE, with ENTRY as the function's name. */
#include <stdint.h>

#ifndef ENTRY
#define ENTRY transpose
#endif

void ENTRY(const float *x, float *y, int64_t rows, int64_t cols);

void ENTRY(const float *x, float *y, int64_t rows, int64_t cols) {
    for (int64_t i = 0; i < rows; i += TILE) {
        for (int64_t j = 0; j < cols; j += TILE) {
            int64_t i_end = i + TILE < rows ? i + TILE : rows, j_end = j + TILE < cols ? j + TILE : cols;
            for (int64_t r = i; r < i_end; r++) {
                for (int64_t c = j; c < j_end; c++)
                    y[c * rows + r] = x[r * cols + c];
            }
        }
    }
}
