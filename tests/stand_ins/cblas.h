/* In place of OpenBLAS where a cross compiler has none: the one call that the tests make, by the book. */
#ifndef CBLAS_H
#define CBLAS_H

enum { CblasRowMajor = 101, CblasNoTrans = 111 };

/* c [m][n] = alpha a [m][k] b [k][n] + beta c, summed in double. */
static inline void cblas_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
                               const float *a, int a_stride, const float *b, int b_stride, float beta, float *c,
                               int c_stride) {
  (void)order;
  (void)transpose_a;
  (void)transpose_b;
  for (int row = 0; row < m; row++) {
    for (int column = 0; column < n; column++) {
      double sum = 0.0;
      for (int i = 0; i < k; i++) sum += (double)a[row * a_stride + i] * (double)b[i * b_stride + column];
      float *to = c + row * c_stride + column;
      *to = (float)(alpha * sum + (double)(beta * *to));
    }
  }
}

#endif /* CBLAS_H */
