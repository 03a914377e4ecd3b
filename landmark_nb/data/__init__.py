"Photographs: what there is, where it was taken, what is right, and how it comes to a trainer."


def doctor(folder, **how):
    "See `data.checkup.doctor`, which is imported when it is called."
    from .checkup import doctor as look

    return look(folder, **how)
