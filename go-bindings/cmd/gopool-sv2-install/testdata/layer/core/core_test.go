package core

import _ "example.com/not/copied"
