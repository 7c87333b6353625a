"""A bundle -> how good its images are, by every schedule, against the time they take (docs/quality.md).

`rows`          the plan: what is sampled
`runtime`       the shipped library through its C API, which samples it
`caching`       the step caching of peers, which it has no steps for
`alternatives`  bundles with other refiners; `refiners` trains some
`real`          the real images, and how training splits them
`features`      what images are compared by
`mobilenet`     another network that images are compared by
`relief`        do maps fit? `phrases`: do samples of a text have the colour that it names?
`distances`     Fréchet and kernel distances, bootstrap
`reference`     a set of images to be compared with
`classifier`    does an image look like its class?
`neighbours`    is it a copy? `memory` asks that of samples
`judge`         samples and scores a row
`floors`        what real images score; `sanity` spoils them by degrees
`seams`         do images tile?
`timing`        seconds for an image
`front`         what is saved at equal quality
`results`       all of it together; `report` and `plots` show it
`store`         keeps what is finished
`run`           the command line
"""
