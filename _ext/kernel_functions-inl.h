/* The dot-product kernels kappa and their derivatives, on vectors in registers.
 *
 * For every patch three numbers are known: scale, shift and norm. If a is the product
 * of the patch with an anchor minus the mean of the anchors, then u = a * scale + shift
 * is the cosine between patch and anchor; for "exp" it is beta (cosine - 1) log2(e), so
 * that kappa is 2^u. All three numbers are 0 for a patch of zeros, and so are its
 * responses. By rounding, a cosine can lie a little outside of [-1, 1]: it is clipped
 * to this interval (the exponent of "exp" to at most 0, since kappa would grow without
 * limit). */

/* 2^x for x <= 1/2. If n is the integer nearest to x, then 2^x = 2^n 2^(x - n). The
 * second factor is a polynomial of degree 6 (relative error 2e-9; for double the Taylor
 * polynomial of degree 13). Adding CKN_ROUNDER = 1.5 * 2^(mantissa bits) rounds x to an
 * integer and leaves n in the low bits; a shift moves n to the exponent field. The
 * smallest result is the smallest normal number. */
#if CKN_REAL_IS_DOUBLE
#define CKN_ROUNDER 6755399441055744.0
#define CKN_SMALLEST_EXPONENT -1022
#define CKN_MANTISSA_BITS 52
#define CKN_POWER_DEGREE 13
#define CKN_POWER_COEFFICIENTS                                                         \
    1.0, 0.6931471805599453094, 0.2402265069591007123, 0.05550410866482157995,         \
        0.009618129107628477162, 0.001333355814642844342, 0.0001540353039338160995,    \
        1.525273380405984028e-5, 1.32154867901443095e-6, 1.017808600923969973e-7,      \
        7.054911620801123329e-9, 4.445538271870811498e-10, 2.567843599348820514e-11,   \
        1.369148885390412889e-12
#else
#define CKN_ROUNDER 12582912.0f
#define CKN_SMALLEST_EXPONENT -126
#define CKN_MANTISSA_BITS 23
#define CKN_POWER_DEGREE 6
#define CKN_POWER_COEFFICIENTS                                                         \
    1.0f, 0.69314718f, 0.24022646f, 0.055503286f, 0.0096184891f, 0.0013399931f,        \
        0.00015345812f
#endif

CKN_INLINE CKN_VECTOR CKN(power_of_two)(CKN_VECTOR x) {
    static const struct CKN(power_constants) {
        CKN_REAL smallest, rounder, coefficients[CKN_POWER_DEGREE + 1];
    } constants = {CKN_SMALLEST_EXPONENT, CKN_ROUNDER, {CKN_POWER_COEFFICIENTS}};
    const struct CKN(power_constants) *c = &constants;
    /* In registers, they would take the places of sums of a register tile. */
    CKN_KEEP_IN_MEMORY(c);
    x = CKN(vector_max)(x, CKN(splat)(c->smallest));
    CKN_VECTOR shifted = x + c->rounder;
    CKN_VECTOR fraction = x - (shifted - c->rounder);
    CKN_VECTOR power = CKN(splat)(c->coefficients[CKN_POWER_DEGREE]);
    CKN_UNROLL
    for (int i = CKN_POWER_DEGREE - 1; i >= 0; i--)
        power = power * fraction + c->coefficients[i];
    return CKN(vector_from_bits)(CKN(vector_bits)(power) +
                                 (CKN(vector_bits)(shifted) << CKN_MANTISSA_BITS));
}

#undef CKN_ROUNDER
#undef CKN_SMALLEST_EXPONENT
#undef CKN_MANTISSA_BITS
#undef CKN_POWER_DEGREE
#undef CKN_POWER_COEFFICIENTS

#define CKN_PI ((CKN_REAL)3.14159265358979323846)

/* arccos u for |u| <= 1. In float: sqrt(1 - |u|) times a polynomial of degree 8
 * (absolute error 2e-9). In double: the function of the C library, lane by lane. */
CKN_INLINE CKN_VECTOR CKN(arccos)(CKN_VECTOR u) {
#if CKN_REAL_IS_DOUBLE
    CKN_REAL lanes[CKN_LANES];
    CKN(store_vector)(lanes, u);
    for (int i = 0; i < CKN_LANES; i++)
        lanes[i] = acos(lanes[i]);
    return CKN(load_vector)(lanes);
#else
    static const CKN_REAL coefficients[] = {
        1.5707964f,    -0.21460149f, 0.089037552f,   -0.050657492f, 0.032840617f,
        -0.021341916f, 0.011801187f, -0.0044791247f, 0.00081793644f};
    CKN_VECTOR size = CKN(vector_max)(u, -u);
    CKN_VECTOR value = CKN(splat)(coefficients[8]);
    CKN_UNROLL
    for (int i = 7; i >= 0; i--)
        value = value * size + coefficients[i];
    value = value * CKN(vector_sqrt)(1 - size);
    return CKN(select_lanes)((CKN_INTEGER_VECTOR)(u < 0), CKN_PI - value, value);
#endif
}

/* u, or the nearer end of [-1, 1] if it lies outside. */
CKN_INLINE CKN_VECTOR CKN(clip_cosine)(CKN_VECTOR u) {
    return CKN(vector_min)(CKN(vector_max)(u, CKN(splat)(-1)), CKN(splat)(1));
}

/* CALL(kernel), with the kernel as a constant, so that only the formula of this kernel
 * is inlined. This is the one place that lists the kernels for loops over positions. */
#define CKN_WITH_KERNEL(kernel, CALL)                                                  \
    switch (kernel) {                                                                  \
    case CKN_EXP:                                                                      \
        CALL(CKN_EXP);                                                                 \
        break;                                                                         \
    case CKN_POLY:                                                                     \
        CALL(CKN_POLY);                                                                \
        break;                                                                         \
    case CKN_ARCCOS1:                                                                  \
        CALL(CKN_ARCCOS1);                                                             \
        break;                                                                         \
    }

/* The response norm * kappa(u), or the product itself. kernel must be a constant where
 * this function is inlined. */
CKN_INLINE CKN_VECTOR CKN(kernel_response)(CKN_VECTOR product, CKN_REAL scale,
                                           CKN_REAL shift, CKN_REAL norm, int kernel) {
    if (kernel == CKN_PRODUCT)
        return product;
    CKN_VECTOR u = product * scale + shift;
    if (kernel == CKN_EXP)
        return CKN(power_of_two)(CKN(vector_min)(u, CKN(splat)(0))) * norm;
    u = CKN(clip_cosine)(u);
    if (kernel == CKN_POLY)
        return u * u * norm;
    CKN_VECTOR sine = CKN(vector_sqrt)((1 - u) * (1 + u));
    return (sine + (CKN_PI - CKN(arccos)(u)) * u) * (norm / CKN_PI);
}

/* Given the gradient g with respect to the response norm * kappa(u): returns the
 * gradient with respect to the product; adds g (kappa(u) - u kappa'(u)) to *radial, the
 * direct part of the gradient with respect to the norm; adds the gradient with respect
 * to beta, divided by the norm, to *by_beta. */
CKN_INLINE CKN_VECTOR CKN(kernel_response_gradient)(CKN_VECTOR gradient,
                                                    CKN_VECTOR product, CKN_REAL scale,
                                                    CKN_REAL shift, CKN_REAL beta,
                                                    int kernel, CKN_VECTOR *radial,
                                                    CKN_VECTOR *by_beta) {
    CKN_VECTOR u = product * scale + shift;
    if (kernel == CKN_EXP) {
        const CKN_REAL exponent = beta * (CKN_REAL)1.44269504088896340736;
        u = CKN(vector_min)(u, CKN(splat)(0));
        CKN_VECTOR value = gradient * CKN(power_of_two)(u);
        CKN_VECTOR less_one = u * (1 / exponent);
        *radial += value * ((1 - beta) - beta * less_one);
        *by_beta += value * less_one;
        return beta * value;
    }
    u = CKN(clip_cosine)(u);
    if (kernel == CKN_POLY) {
        *radial -= gradient * u * u;
        return gradient * u * 2;
    }
    *radial += gradient * CKN(vector_sqrt)((1 - u) * (1 + u)) * (1 / CKN_PI);
    return gradient * (CKN_PI - CKN(arccos)(u)) * (1 / CKN_PI);
}

#undef CKN_PI
