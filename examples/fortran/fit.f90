! Fit a straight line to noisy points, by the Adam of fastadam in double precision.
program fit
    use iso_c_binding
    implicit none

    interface
        subroutine adam_defaults(hyper) bind(c, name="fastadam_adam_defaults")
            import
            real(c_double) :: hyper(*)
        end subroutine
        function adam_prepare(hyper, step, constants) bind(c, name="fastadam_adam_prepare_f64") &
                result(code)
            import
            real(c_double), intent(in) :: hyper(*)
            integer(c_int64_t), value :: step
            real(c_double), intent(out) :: constants(*)
            integer(c_int) :: code
        end function
        function adam_step(param, grad, exp_avg, exp_avg_sq, constants, n) &
                bind(c, name="fastadam_adam_f64") result(code)
            import
            real(c_double) :: param(*), exp_avg(*), exp_avg_sq(*)
            real(c_double), intent(in) :: grad(*), constants(*)
            integer(c_int64_t), value :: n
            integer(c_int) :: code
        end function
    end interface

    ! The structs of adam.h have only numbers of one kind: an array takes their place.
    real(c_double) :: hyper(6), constants(8), x(100), y(100), error(100)
    real(c_double) :: param(2) = 0, grad(2), exp_avg(2) = 0, exp_avg_sq(2) = 0
    integer(c_int64_t) :: step
    integer :: i

    x = [(i / 50d0 - 1, i = 1, 100)]
    y = 3 * x - 1 + 0.1d0 * sin(40 * x)
    call adam_defaults(hyper)
    hyper(1) = 0.1d0 ! lr is the first field
    do step = 1, 300
        error = param(1) * x + param(2) - y
        grad = [sum(error * x), sum(error)] / size(x)
        if (adam_prepare(hyper, step, constants) /= 0) stop 1
        if (adam_step(param, grad, exp_avg, exp_avg_sq, constants, 2_c_int64_t) /= 0) stop 1
    end do
    print "(a, f6.2, a, f6.2)", "slope", param(1), ", offset", param(2)
end program
