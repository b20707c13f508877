package steps

var phpVersions = map[int]string{11: "7.4", 12: "8.2", 13: "8.4"}
