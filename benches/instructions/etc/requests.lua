-- For wrk: ends it after $REQUESTS requests, of which $PIPELINED come in one segment.
local left = tonumber(os.getenv("REQUESTS"))
local pipelined = tonumber(os.getenv("PIPELINED"))
local segment

init = function() segment = wrk.format():rep(pipelined) end

request = function()
    left = left - pipelined
    if left <= 0 and left + pipelined > 0 then
        wrk.thread:stop()
        os.execute("{ sleep 0.2; kill -INT $PPID; } &") -- its first thread sleeps as long as it was told
    end
    return segment
end
