package engine

import (
	"os"
	"syscall"

	"sayasystems.com/atlas/sentry/initapi"
)

type initapiFinding = initapi.Finding

func owner(st os.FileInfo) uint32 { return st.Sys().(*syscall.Stat_t).Uid }
