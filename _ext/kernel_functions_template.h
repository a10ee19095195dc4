/* The dot-product kernels in registers, and their derivatives.
 *
 * Of a patch x with norm r three numbers are known: scale, shift and norm. With the
 * product a of x and an anchor minus the anchors' mean, a * scale + shift is the
 * cosine u; for "exp" it is beta (u - 1) log2(e), so that kappa is a power of two.
 * All three are 0 for patches of zeros, whose responses are so 0. Rounding can put a
 * cosine a little outside [-1, 1]: it is clipped, for "exp" at 1, beyond which kappa
 * would grow without limit. */

/* 2^x for x <= 1/2. With n the integer nearest x, 2^x = 2^n 2^(x - n), and a
 * polynomial of degree 6 (relative error 2e-9; for double the Taylor polynomial of
 * degree 13) gives the second factor. Adding ROUNDER = 1.5 * 2^(mantissa bits) rounds
 * to an integer and leaves n in the low bits, from where a shift takes it to the
 * exponent field. The smallest result is the smallest normal number. */
#if REAL_IS_DOUBLE
#define ROUNDER 6755399441055744.0
#define SMALLEST_EXPONENT -1022
#define MANTISSA_BITS 52
#define POWER_DEGREE 13
#define POWER_COEFFICIENTS                                                            \
    1.0, 0.6931471805599453094, 0.2402265069591007123, 0.05550410866482157995,        \
        0.009618129107628477162, 0.001333355814642844342, 0.0001540353039338160995,   \
        1.525273380405984028e-5, 1.32154867901443095e-6, 1.017808600923969973e-7,     \
        7.054911620801123329e-9, 4.445538271870811498e-10, 2.567843599348820514e-11,  \
        1.369148885390412889e-12
#else
#define ROUNDER 12582912.0f
#define SMALLEST_EXPONENT -126
#define MANTISSA_BITS 23
#define POWER_DEGREE 6
#define POWER_COEFFICIENTS                                                            \
    1.0f, 0.69314718f, 0.24022646f, 0.055503286f, 0.0096184891f, 0.0013399931f,       \
        0.00015345812f
#endif

INLINE VECTOR CKN(power_of_two)(VECTOR x) {
    static const REAL coefficients[] = {POWER_COEFFICIENTS};
    x = CKN(max)(x, CKN(splat)(SMALLEST_EXPONENT));
    VECTOR shifted = x + ROUNDER;
    VECTOR fraction = x - (shifted - ROUNDER);
    VECTOR power = CKN(splat)(coefficients[POWER_DEGREE]);
    UNROLL
    for (int i = POWER_DEGREE - 1; i >= 0; i--)
        power = power * fraction + coefficients[i];
    return CKN(from_bits)(CKN(bits)(power) + (CKN(bits)(shifted) << MANTISSA_BITS));
}

#undef ROUNDER
#undef SMALLEST_EXPONENT
#undef MANTISSA_BITS
#undef POWER_DEGREE
#undef POWER_COEFFICIENTS

#define PI ((REAL)3.14159265358979323846)

/* arccos u for |u| <= 1: in float sqrt(1 - |u|) times a polynomial of degree 8
 * (absolute error 2e-9), in double the C library's, lane by lane. */
INLINE VECTOR CKN(arccos)(VECTOR u) {
#if REAL_IS_DOUBLE
    REAL lanes[LANES];
    CKN(store)(lanes, u);
    for (int i = 0; i < LANES; i++)
        lanes[i] = acos(lanes[i]);
    return CKN(load)(lanes);
#else
    static const REAL coefficients[] = {1.5707964f,   -0.21460149f,  0.089037552f,
                                        -0.050657492f, 0.032840617f, -0.021341916f,
                                        0.011801187f, -0.0044791247f, 0.00081793644f};
    VECTOR size = CKN(max)(u, -u);
    VECTOR value = CKN(splat)(coefficients[8]);
    UNROLL
    for (int i = 7; i >= 0; i--)
        value = value * size + coefficients[i];
    value = value * CKN(sqrt)(1 - size);
    return CKN(select)((CKN(integers))(u < 0), PI - value, value);
#endif
}

/* u in [-1, 1] */
INLINE VECTOR CKN(clip)(VECTOR u) {
    return CKN(min)(CKN(max)(u, CKN(splat)(-1)), CKN(splat)(1));
}

/* CALL(kernel) with the kernel as a constant, so that its formula alone is inlined:
 * the one place that lists the kernels for the loops over positions. */
#ifndef WITH_KERNEL
#define WITH_KERNEL(kernel, CALL)                                                     \
    switch (kernel) {                                                                 \
    case CKN_EXP:                                                                     \
        CALL(CKN_EXP);                                                                \
        break;                                                                        \
    case CKN_POLY:                                                                    \
        CALL(CKN_POLY);                                                               \
        break;                                                                        \
    case CKN_ARCCOS1:                                                                 \
        CALL(CKN_ARCCOS1);                                                            \
        break;                                                                        \
    }
#endif

/* norm * kappa(u), or the product itself. kernel is a constant where this is inlined. */
INLINE VECTOR CKN(response)(VECTOR product, REAL scale, REAL shift, REAL norm,
                            int kernel) {
    if (kernel == CKN_PRODUCT)
        return product;
    VECTOR u = product * scale + shift;
    if (kernel == CKN_EXP)
        return CKN(power_of_two)(CKN(min)(u, CKN(splat)(0))) * norm;
    u = CKN(clip)(u);
    if (kernel == CKN_POLY)
        return u * u * norm;
    VECTOR sine = CKN(sqrt)((1 - u) * (1 + u));
    return (sine + (PI - CKN(arccos)(u)) * u) * (norm / PI);
}

/* The derivatives of norm * kappa(u), given the slope of the objective in it: returned
 * is that in the product; added to *radial that in the norm (without the part through
 * the product), kappa(u) - u kappa'(u); to *by_beta that in beta, over the norm. */
INLINE VECTOR CKN(response_slope)(VECTOR slope, VECTOR product, REAL scale, REAL shift,
                                  REAL beta, int kernel, VECTOR *radial,
                                  VECTOR *by_beta) {
    VECTOR u = product * scale + shift;
    if (kernel == CKN_EXP) {
        const REAL exponent = beta * (REAL)1.44269504088896340736;
        u = CKN(min)(u, CKN(splat)(0));
        VECTOR value = slope * CKN(power_of_two)(u);
        VECTOR less_one = u * (1 / exponent);
        *radial += value * ((1 - beta) - beta * less_one);
        *by_beta += value * less_one;
        return beta * value;
    }
    u = CKN(clip)(u);
    if (kernel == CKN_POLY) {
        *radial -= slope * u * u;
        return slope * u * 2;
    }
    *radial += slope * CKN(sqrt)((1 - u) * (1 + u)) * (1 / PI);
    return slope * (PI - CKN(arccos)(u)) * (1 / PI);
}

#undef PI
